import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.namesrv.NamesrvStartup;

// RocketMQ as `make bench PEERS=rocketmq` runs it: "serve NAMESRV.conf BROKER.conf",
// "produce ADDRESS SIZE SECONDS", "fill ADDRESS SIZE COUNT", "consume ADDRESS COUNT".
// The last line is "result MESSAGES SECONDS". A topic of one queue.
public class Peer {
    static final String TOPIC = "bench";
    static final int BATCH = 256 << 10; // bytes, as the other producers'
    static final int IN_FLIGHT = 4;     // batches

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "serve" -> {
                NamesrvStartup.main0(new String[] {"-c", args[1]});
                BrokerStartup.start(BrokerStartup.createBrokerController(new String[] {"-c", args[2]}));
                return;
            }
            case "produce" -> {
                int size = Integer.parseInt(args[2]);
                double seconds = Double.parseDouble(args[3]);
                try (Sender s = new Sender(args[1], size)) {
                    s.run(Math.max(1, seconds / 4), Long.MAX_VALUE); // the compilers of both sides warm up
                    s.run(seconds, Long.MAX_VALUE);
                }
            }
            case "fill" -> {
                try (Sender s = new Sender(args[1], Integer.parseInt(args[2]))) {
                    s.run(1e6, Long.parseLong(args[3]));
                }
            }
            case "consume" -> consume(args[1], Long.parseLong(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0); // the library leaves threads behind
    }

    static void result(long messages, long nanos) {
        System.out.println("result " + messages + " " + nanos / 1e9);
    }

    // createTopic lets the first message create the topic, and waits for the broker to
    // have told the name server of both.
    static void createTopic(DefaultMQProducer producer) throws Exception {
        for (long deadline = System.nanoTime() + 30_000_000_000L;;) {
            try {
                producer.send(new Message(TOPIC, new byte[1]));
                producer.fetchPublishMessageQueues(TOPIC);
                return;
            } catch (MQClientException e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    static class Sender implements AutoCloseable {
        final DefaultMQProducer producer = new DefaultMQProducer("bench");
        final MessageQueue queue;
        final int size;

        Sender(String address, int size) throws Exception {
            this.size = size;
            producer.setNamesrvAddr(address);
            producer.setSendMsgTimeout(60_000);
            producer.setRetryTimesWhenSendAsyncFailed(0);
            producer.start();
            createTopic(producer);
            queue = producer.fetchPublishMessageQueues(TOPIC).get(0);
        }

        // run sends batches until the time is over or count messages are acknowledged.
        // A batch for which the broker is too busy is not counted. With a count there is
        // one batch in flight, so that as many are stored.
        void run(double seconds, long count) throws Exception {
            int most = count == Long.MAX_VALUE ? IN_FLIGHT : 1;
            Semaphore slots = new Semaphore(most);
            AtomicLong acknowledged = new AtomicLong();
            AtomicReference<Throwable> failed = new AtomicReference<>();
            byte[] payload = new byte[size];
            new java.util.Random(1).nextBytes(payload);
            int each = Math.max(1, BATCH / (size + 100)); // what a message takes beside its payload
            long begin = System.nanoTime(), end = begin + (long) (seconds * 1e9);
            while (System.nanoTime() < end && failed.get() == null) {
                slots.acquire();
                long n = Math.min(each, count - acknowledged.get());
                if (n <= 0) {
                    slots.release();
                    break;
                }
                List<Message> batch = new ArrayList<>(each);
                for (int i = 0; i < n; i++) {
                    batch.add(new Message(TOPIC, payload));
                }
                producer.send(batch, queue, new SendCallback() {
                    public void onSuccess(SendResult r) {
                        if (r.getSendStatus() == SendStatus.SEND_OK) {
                            acknowledged.addAndGet(batch.size());
                        } else {
                            failed.compareAndSet(null, new IllegalStateException(r.toString()));
                        }
                        slots.release();
                    }

                    public void onException(Throwable e) {
                        if (!String.valueOf(e.getMessage()).contains("broker busy")) {
                            failed.compareAndSet(null, e);
                        }
                        slots.release();
                    }
                }, 60_000);
            }
            result(acknowledged.get(), System.nanoTime() - begin);
            if (!slots.tryAcquire(most, 60, TimeUnit.SECONDS) || failed.get() != null) {
                throw new Exception("not acknowledged", failed.get());
            }
        }

        public void close() {
            producer.shutdown();
        }
    }

    static void consume(String address, long count) throws Exception {
        DefaultLitePullConsumer c = new DefaultLitePullConsumer("reader");
        c.setNamesrvAddr(address);
        c.setAutoCommit(false);
        c.setPullBatchSize(1024);
        c.start();
        List<MessageQueue> queues = new ArrayList<>(c.fetchMessageQueues(TOPIC));
        c.assign(queues);
        for (MessageQueue q : queues) {
            c.seekToBegin(q);
        }
        long begin = 0, got = 0;
        for (long deadline = System.nanoTime() + 600_000_000_000L; got < count;) {
            int n = c.poll(1000).size();
            if (begin == 0 && n > 0) {
                begin = System.nanoTime();
            }
            got += n;
            if (System.nanoTime() > deadline) {
                throw new Exception("read " + got + " of " + count + " messages");
            }
        }
        result(got, System.nanoTime() - begin);
    }
}
