import com.github.brainlag.nsq.NSQConfig;
import com.github.brainlag.nsq.NSQConsumer;
import com.github.brainlag.nsq.NSQMessage;
import com.github.brainlag.nsq.NSQProducer;
import com.github.brainlag.nsq.ServerAddress;
import com.github.brainlag.nsq.lookup.DefaultNSQLookup;
import com.github.brainlag.nsq.lookup.NSQLookup;
import io.netty.handler.ssl.SslContextBuilder;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** brainlag's nsq-client. It has no AUTH, and a lookup of ours stands for addresses, which its consumer cannot be told. */
final class Brainlag implements Client {
    private final Flags flags;

    Brainlag(Flags flags) {
        this.flags = flags;
        if (flags.secret != null) throw new IllegalArgumentException("nsq-client has no AUTH");
    }

    @Override
    public String name() {
        return "brainlag 1.0.0.RC4";
    }

    private NSQConfig config() throws Exception {
        NSQConfig config = new NSQConfig();
        if (flags.tls) config.setSslContext(SslContextBuilder.forClient().trustManager(flags.trust()).build());
        if (flags.snappy) config.setCompression(NSQConfig.Compression.SNAPPY);
        if (flags.deflate) {
            config.setCompression(NSQConfig.Compression.DEFLATE);
            config.setDeflateLevel(6);
        }
        return config;
    }

    @Override
    public Producer producer(String address) throws Exception {
        ServerAddress nsqd = parse(address);
        NSQProducer producer = new NSQProducer().addAddress(nsqd.getHost(), nsqd.getPort()).setConfig(config()).start();
        return new Producer() {
            @Override
            public void publish(String topic, byte[] body) throws Exception {
                producer.produce(topic, body);
            }

            @Override
            public void publish(String topic, List<byte[]> bodies) throws Exception {
                producer.produceMulti(topic, bodies);
            }
        };
    }

    @Override
    public void consume(String topic, boolean throughLookupd, Handler handler) throws Exception {
        NSQLookup lookup = throughLookupd ? new DefaultNSQLookup() : new Addresses(flags.nsqds);
        if (throughLookupd) {
            ServerAddress lookupd = parse(flags.lookupd);
            lookup.addLookupAddress(lookupd.getHost(), lookupd.getPort());
        }
        NSQConsumer consumer =
            new NSQConsumer(lookup, topic, "ch", message -> handler.message(wrap(message)), config());
        consumer.setLookupPeriod(1000).start();
    }

    private static ServerAddress parse(String address) {
        String[] parts = address.split(":");
        return new ServerAddress(parts[0], Integer.parseInt(parts[1]));
    }

    private record Addresses(List<String> nsqds) implements NSQLookup {
        @Override
        public Set<ServerAddress> lookup(String topic) {
            Set<ServerAddress> found = new HashSet<>();
            for (String nsqd : nsqds) found.add(parse(nsqd));
            return found;
        }

        @Override
        public void addLookupAddress(String host, int port) {
            throw new UnsupportedOperationException("the addresses are fixed");
        }
    }

    private static Message wrap(NSQMessage message) {
        return new Message() {
            @Override
            public String id() {
                return new String(message.getId());
            }

            @Override
            public int attempts() {
                return message.getAttempts();
            }

            @Override
            public byte[] body() {
                return message.getMessage();
            }

            @Override
            public void finish() {
                message.finished();
            }

            @Override
            public void requeue() {
                message.requeue(0);
            }
        };
    }
}
