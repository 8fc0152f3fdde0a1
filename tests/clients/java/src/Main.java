import java.util.List;

/**
 * Proves that nsq-j or brainlag's nsq-client works against the daemons it is pointed at, scenario by scenario:
 *
 * <pre>java Main [--client nsq-j|brainlag] --lookupd HOST:PORT --nsqd HOST:PORT ... [--tls --ca FILE]
 *      [--snappy | --deflate] [--auth-secret SECRET] SCENARIO...</pre>
 *
 * Prints "PASS SCENARIO" for each and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a topic.
 * Where it prints LOOK, CHECK or RESTART, whoever runs it does so and sends a line of input.
 */
final class Main {
    public static void main(String[] words) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Flags flags = new Flags(List.of(words));
        Client client = flags.client.equals("brainlag") ? new Brainlag(flags) : new NsqJ(flags);
        System.out.println("CLIENT " + client.name());
        Scenarios scenarios = new Scenarios(client, flags);
        for (String name : flags.scenarios) {
            try {
                scenarios.run(name);
            } catch (Exception error) {
                System.out.println("FAIL " + name);
                error.printStackTrace(System.out);
                System.exit(1);
            }
            System.out.println("PASS " + name);
        }
        // Not by returning: the clients' threads stay.
        System.exit(0);
    }
}
