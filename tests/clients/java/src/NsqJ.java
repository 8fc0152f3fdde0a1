import com.sproutsocial.nsq.Config;
import com.sproutsocial.nsq.DirectSubscriber;
import com.sproutsocial.nsq.MessageHandler;
import com.sproutsocial.nsq.Publisher;
import com.sproutsocial.nsq.Subscriber;
import java.util.List;
import javax.net.ssl.SSLContext;

/** nsq-j. Its subscriber to addresses knows only the default client, so all others here use that one too. */
final class NsqJ implements Client {
    private final Flags flags;

    NsqJ(Flags flags) throws Exception {
        this.flags = flags;
        com.sproutsocial.nsq.Client shared = com.sproutsocial.nsq.Client.getDefaultClient();
        if (flags.tls) {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, flags.trust().getTrustManagers(), null);
            shared.setSSLSocketFactory(context.getSocketFactory());
        }
        if (flags.secret != null) shared.setAuthSecret(flags.secret);
    }

    @Override
    public String name() {
        return "nsq-j 1.2";
    }

    private Config config() {
        Config config = new Config();
        config.setTlsV1(flags.tls);
        config.setSnappy(flags.snappy);
        config.setDeflate(flags.deflate);
        return config;
    }

    @Override
    public Producer producer(String address) {
        Publisher publisher = new Publisher(address);
        publisher.setConfig(config());
        return new Producer() {
            @Override
            public void publish(String topic, byte[] body) {
                publisher.publish(topic, body);
            }

            @Override
            public void publish(String topic, List<byte[]> bodies) {
                publisher.publish(topic, bodies);
            }
        };
    }

    @Override
    public void consume(String topic, boolean throughLookupd, Handler handler) {
        Subscriber subscriber = throughLookupd
            ? new Subscriber(1, flags.lookupd)
            : new DirectSubscriber(1, flags.nsqds.toArray(new String[0]));
        subscriber.setConfig(config());
        // Answers are written every so often, and the default of 2 s would be most of a scenario's time.
        subscriber.setMaxFlushDelayMillis(50);
        MessageHandler each = message -> handler.message(wrap(message));
        subscriber.subscribe(topic, "ch", each);
    }

    private static Message wrap(com.sproutsocial.nsq.Message message) {
        return new Message() {
            @Override
            public String id() {
                return message.getId();
            }

            @Override
            public int attempts() {
                return message.getAttempts();
            }

            @Override
            public byte[] body() {
                return message.getData();
            }

            @Override
            public void finish() {
                message.finish();
            }

            @Override
            public void requeue() {
                message.requeue(0);
            }
        };
    }
}
