// Publishes with jnats: sync, async, de-duplication, refusals, plain get, a topic's own subjects.

import io.nats.client.Connection;
import io.nats.client.JetStream;
import io.nats.client.JetStreamApiException;
import io.nats.client.Nats;
import io.nats.client.PublishOptions;
import io.nats.client.api.PublishAck;
import io.nats.client.impl.Headers;
import io.nats.client.impl.NatsMessage;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

public class Publish {
    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void refused(JetStream js, int code, NatsMessage message, PublishOptions options) throws Exception {
        try {
            PublishAck ack = js.publish(message, options);
            throw new AssertionError("not refused with " + code + ": " + ack);
        } catch (JetStreamApiException e) {
            check(e.getApiErrorCode() == code, e);
        }
    }

    static NatsMessage to(String subject, String... header) {
        Headers headers = new Headers();
        if (header.length == 2) {
            headers.put(header[0], header[1]);
        }
        return NatsMessage.builder().subject(subject).data("x").headers(headers).build();
    }

    public static void main(String[] args) throws Exception {
        try (Connection nc = Nats.connect(System.getenv("METAQ_SERVER"))) {
            JetStream js = nc.jetStream();
            PublishOptions id = PublishOptions.builder().messageId("a").build();
            PublishOptions none = PublishOptions.builder().build();

            PublishAck first = js.publish("metaq.put.one", "first".getBytes(), id);
            check(first.getStream().equals("one-0-0") && first.getSeqno() == 1 && !first.isDuplicate(), first);
            PublishAck again = js.publish("metaq.put.one", "first".getBytes(), id);
            check(again.getSeqno() == 1 && again.isDuplicate(), again);
            js.publish("metaq.put.one", "second".getBytes(),
                PublishOptions.builder().expectedStream("one-0-0").expectedLastSequence(1).expectedLastMsgId("a").build());

            refused(js, 10060, to("metaq.put.one", "Nats-Expected-Stream", "other"), none);
            refused(js, 10071, to("metaq.put.one"), PublishOptions.builder().expectedLastSequence(1).build());
            refused(js, 10070, to("metaq.put.one"), PublishOptions.builder().expectedLastMsgId("z").build());
            refused(js, 10071, to("metaq.put.four"), PublishOptions.builder().expectedLastSequence(1).build());
            refused(js, 10111, to("metaq.put.one", "Nats-Rollup", "all"), none);
            refused(js, 10059, to("metaq.put.none"), none);

            for (int round = 0; round < 2; round++) {
                List<CompletableFuture<PublishAck>> acks = new ArrayList<>();
                for (int i = 0; i < 200; i++) {
                    acks.add(js.publishAsync("metaq.put.four", String.valueOf(i).getBytes(),
                        PublishOptions.builder().messageId("async-" + i).build()));
                }
                for (CompletableFuture<PublishAck> ack : acks) {
                    check(ack.get(10, TimeUnit.SECONDS).isDuplicate() == (round == 1), "round " + round);
                }
            }

            int total = 0;
            for (int partition = 0; partition < 4; partition++) {
                String json = new String(nc.request("metaq.get.four.0-" + partition, "{}".getBytes(), Duration.ofSeconds(10)).getData());
                total += json.split("\"data\":", -1).length - 1;
            }
            check(total == 200, total);
            String json = new String(nc.request("metaq.get.one.0-0", "{}".getBytes(), Duration.ofSeconds(10)).getData());
            check(json.contains("\"data\":\"first\"") && json.contains("\"data\":\"second\""), json);

            // A topic that listens to sales.>: the key is the second token.
            PublishAck ack = js.publish("sales.eu.new", "with a reply".getBytes());
            check(ack.getStream().startsWith("sales-0-") && ack.getSeqno() == 1, ack);
            nc.publish("sales.eu", "without a reply".getBytes());
            NatsMessage last = NatsMessage.builder().subject("sales.eu.last").data("again").headers(new Headers().put("Trace", "t")).build();
            ack = js.publish(last);
            check(ack.getSeqno() == 3, ack);
        }
        System.out.println("java: sync, async, de-duplication, refusals, get and own subjects are as promised");
    }
}
