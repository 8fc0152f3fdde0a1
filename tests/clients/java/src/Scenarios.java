import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The scenarios themselves, for any client. */
final class Scenarios {
    /** How long a scenario waits for something that must happen. A loaded machine may need much of it. */
    private static final long PATIENCE_MS = 20_000;

    private final Client client;
    private final Flags flags;
    private final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));

    Scenarios(Client client, Flags flags) {
        this.client = client;
        this.flags = flags;
    }

    void run(String name) throws Exception {
        String topic = "java-" + name;
        switch (name) {
            // A consumer that was told the nsqds' addresses; all connections stay open while they are looked at.
            case "direct" -> {
                List<String> bodies = publishEach(topic, 50, false);
                exactlyOnce(topic, false, bodies);
                pause("LOOK");
            }
            // Every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once.
            case "publish" -> drain(topic, publishEach(topic, 100, false));
            // Each message of an MPUB is delivered on its own.
            case "multi-publish" -> drain(topic, publishEach(topic, 200, true));
            case "requeue" -> requeue(topic, publishEach(topic, 10, false));
            // What was acknowledged before the nsqds are killed is delivered after they came back.
            case "restart" -> {
                List<String> bodies = publishEach(topic, 50, false);
                pause("RESTART");
                drain(topic, bodies);
            }
            default -> throw new IllegalArgumentException("unknown scenario");
        }
    }

    /** A message given back at once returns with the next attempt and the same id. */
    private void requeue(String topic, List<String> bodies) throws Exception {
        Ledger seen = new Ledger(bodies);
        Map<String, String> first = new HashMap<>();
        client.consume(topic, true, message -> {
            String body = new String(message.body());
            String id;
            synchronized (first) {
                id = first.putIfAbsent(body, message.id());
            }
            if (id == null) {
                message.requeue();
                return;
            }
            if (!id.equals(message.id()) || message.attempts() != 2) {
                seen.problem(body + " came again with another id or attempts " + message.attempts());
            }
            message.finish();
            seen.add(body);
        });
        seen.complete();
        pause("CHECK");
    }

    private List<String> publishEach(String topic, int count, boolean together) throws Exception {
        List<String> bodies = new ArrayList<>();
        for (int index = 0; index < flags.nsqds.size(); index++) {
            Client.Producer producer = client.producer(flags.nsqds.get(index));
            List<byte[]> batch = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                String body = "message " + number + " from producer " + index;
                bodies.add(body);
                batch.add(body.getBytes());
            }
            if (together) {
                producer.publish(topic, batch);
                continue;
            }
            for (byte[] body : batch) producer.publish(topic, body);
        }
        return bodies;
    }

    /** Consumes through nsqlookupd until exactly these bodies have come and their FINs are with the nsqds. */
    private void drain(String topic, List<String> bodies) throws Exception {
        exactlyOnce(topic, true, bodies);
        // A client that ends takes FINs with it that it has not written yet.
        pause("CHECK");
    }

    private void exactlyOnce(String topic, boolean throughLookupd, List<String> bodies) throws Exception {
        Ledger seen = new Ledger(bodies);
        client.consume(topic, throughLookupd, message -> {
            message.finish();
            seen.add(new String(message.body()));
        });
        seen.complete();
    }

    /** Says what whoever runs this should do now; goes on when a line or the end of input says that it is done. */
    private void pause(String what) throws IOException {
        System.out.println(what);
        input.readLine();
    }

    /** The bodies that are still owed, struck out by any number of handlers. */
    private static final class Ledger {
        private final Set<String> left;
        private String problem;

        Ledger(List<String> bodies) {
            left = new HashSet<>(bodies);
        }

        synchronized void add(String body) {
            if (!left.remove(body)) problem(body + " came without being owed");
            notifyAll();
        }

        synchronized void problem(String what) {
            if (problem == null) problem = what;
            notifyAll();
        }

        synchronized void complete() throws Exception {
            long limit = System.nanoTime() + PATIENCE_MS * 1_000_000;
            while (!left.isEmpty() && problem == null) {
                long rest = (limit - System.nanoTime()) / 1_000_000;
                if (rest <= 0) throw new Exception(left.size() + " messages are missing after " + PATIENCE_MS + " ms");
                wait(rest);
            }
            if (problem != null) throw new Exception(problem);
        }
    }
}
