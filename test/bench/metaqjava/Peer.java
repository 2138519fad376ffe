import com.taobao.metamorphosis.Message;
import com.taobao.metamorphosis.client.MetaClientConfig;
import com.taobao.metamorphosis.client.MetaMessageSessionFactory;
import com.taobao.metamorphosis.client.consumer.ConsumerConfig;
import com.taobao.metamorphosis.client.consumer.MessageConsumer;
import com.taobao.metamorphosis.client.consumer.MessageListener;
import com.taobao.metamorphosis.client.producer.MessageProducer;
import com.taobao.metamorphosis.client.producer.SendMessageCallback;
import com.taobao.metamorphosis.client.producer.SendResult;
import com.taobao.metamorphosis.server.MetamorphosisStartup;
import com.taobao.metamorphosis.utils.ZkUtils;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.zookeeper.server.ZooKeeperServerMain;

// Taobao's MetaQ as `make bench PEERS=metaq` runs it: "serve ZK-PORT ZK-DIR
// SERVER.ini", "produce ZK SIZE SECONDS", "fill ZK SIZE COUNT", "consume ZK COUNT".
// The last line is "result MESSAGES SECONDS". A topic of one partition; its producer
// has no batches, so it sends single messages with a window.
public class Peer {
    static final String TOPIC = "bench";
    static final int WINDOW = 1000; // messages in flight

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "serve" -> {
                Thread zk = new Thread(() -> ZooKeeperServerMain.main(new String[] {args[1], args[2]}));
                zk.setDaemon(true);
                zk.start();
                MetamorphosisStartup.main(new String[] {"-f", args[3]});
                return;
            }
            case "produce" -> {
                double seconds = Double.parseDouble(args[3]);
                Sender s = new Sender(args[1], Integer.parseInt(args[2]));
                s.run(Math.max(1, seconds / 4), Long.MAX_VALUE); // the compilers of both sides warm up
                s.run(seconds, Long.MAX_VALUE);
            }
            case "fill" -> new Sender(args[1], Integer.parseInt(args[2])).run(1e6, Long.parseLong(args[3]));
            case "consume" -> consume(args[1], Long.parseLong(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0); // the library leaves threads behind
    }

    static void result(long messages, long nanos) {
        System.out.println("result " + messages + " " + nanos / 1e9);
    }

    static <C extends MetaClientConfig> C at(String zookeeper, C c) {
        ZkUtils.ZKConfig zk = new ZkUtils.ZKConfig();
        zk.setZkConnect(zookeeper);
        c.setZkConfig(zk);
        return c;
    }

    static class Sender {
        final MessageProducer producer;
        final byte[] payload;

        Sender(String zookeeper, int size) throws Exception {
            producer = new MetaMessageSessionFactory(at(zookeeper, new MetaClientConfig())).createProducer();
            producer.publish(TOPIC);
            payload = new byte[size];
            new java.util.Random(1).nextBytes(payload);
            for (long deadline = System.nanoTime() + 30_000_000_000L;;) { // until the broker is in the registry
                try {
                    if (producer.sendMessage(new Message(TOPIC, payload)).isSuccess()) {
                        return;
                    }
                } catch (Exception e) {
                    if (System.nanoTime() > deadline) {
                        throw e;
                    }
                }
                Thread.sleep(50);
            }
        }

        // run sends messages until the time is over or count were sent, and says how
        // many were acknowledged within it.
        void run(double seconds, long count) throws Exception {
            Semaphore slots = new Semaphore(WINDOW);
            AtomicLong acknowledged = new AtomicLong();
            AtomicReference<String> failed = new AtomicReference<>();
            SendMessageCallback done = new SendMessageCallback() {
                public void onMessageSent(SendResult r) {
                    if (r.isSuccess()) {
                        acknowledged.incrementAndGet();
                    } else {
                        failed.compareAndSet(null, r.getErrorMessage());
                    }
                    slots.release();
                }

                public void onException(Throwable e) {
                    failed.compareAndSet(null, e.toString());
                    slots.release();
                }
            };
            long begin = System.nanoTime(), end = begin + (long) (seconds * 1e9);
            for (long sent = 0; sent < count && System.nanoTime() < end && failed.get() == null; sent++) {
                slots.acquire();
                producer.sendMessage(new Message(TOPIC, payload), done, 60, TimeUnit.SECONDS);
            }
            if (count == Long.MAX_VALUE) {
                result(acknowledged.get(), System.nanoTime() - begin);
            }
            if (!slots.tryAcquire(WINDOW, 60, TimeUnit.SECONDS) || failed.get() != null) {
                throw new Exception("not acknowledged: " + failed.get());
            }
            if (count != Long.MAX_VALUE) {
                result(acknowledged.get(), System.nanoTime() - begin);
            }
        }
    }

    static void consume(String zookeeper, long count) throws Exception {
        ConsumerConfig config = at(zookeeper, new ConsumerConfig("reader"));
        config.setMaxDelayFetchTimeInMills(100);
        MessageConsumer c = new MetaMessageSessionFactory(config).createConsumer(config);
        CountDownLatch all = new CountDownLatch(1);
        long[] seen = new long[2]; // messages, begin; of the one fetching thread
        c.subscribe(TOPIC, 1 << 20, new MessageListener() {
            public void recieveMessages(Message m) {
                if (seen[0]++ == 0) {
                    seen[1] = System.nanoTime();
                }
                if (seen[0] == count) {
                    result(count, System.nanoTime() - seen[1]);
                    all.countDown();
                }
            }

            public Executor getExecutor() {
                return null;
            }
        });
        c.completeSubscribe();
        if (!all.await(600, TimeUnit.SECONDS)) {
            throw new Exception("read " + seen[0] + " of " + count + " messages");
        }
    }
}
