import java.util.List;

/** What the scenarios need of a client. Everything blocks until it is so, or throws. */
interface Client {
    /** The client's name and version. */
    String name();

    /** A producer connected to one nsqd; it stays connected until the program ends. */
    Producer producer(String address) throws Exception;

    /** Gives every message of the topic's channel "ch" to the handler, which answers it, until the program ends. */
    void consume(String topic, boolean throughLookupd, Handler handler) throws Exception;

    interface Producer {
        void publish(String topic, byte[] body) throws Exception;

        void publish(String topic, List<byte[]> bodies) throws Exception;
    }

    interface Handler {
        void message(Message message);
    }

    interface Message {
        String id();

        int attempts();

        byte[] body();

        void finish();

        void requeue();
    }
}
