import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import javax.net.ssl.TrustManagerFactory;

/** The command line: where the daemons are, and what a connection negotiates beyond the plain protocol. */
final class Flags {
    String client = "nsq-j";
    String lookupd;
    final List<String> nsqds = new ArrayList<>();
    boolean tls;
    String ca;
    boolean snappy;
    boolean deflate;
    String secret;
    final List<String> scenarios = new ArrayList<>();

    Flags(List<String> words) {
        for (Iterator<String> rest = words.iterator(); rest.hasNext(); ) {
            String word = rest.next();
            switch (word) {
                case "--client" -> client = rest.next();
                case "--lookupd" -> lookupd = rest.next();
                case "--nsqd" -> nsqds.add(rest.next());
                case "--nsqd-http" -> rest.next(); // others ask the nsqds over HTTP
                case "--tls" -> tls = true;
                case "--ca" -> ca = rest.next();
                case "--snappy" -> snappy = true;
                case "--deflate" -> deflate = true;
                case "--auth-secret" -> secret = rest.next();
                default -> {
                    if (word.startsWith("-")) throw new IllegalArgumentException("unknown flag " + word);
                    scenarios.add(word);
                }
            }
        }
    }

    /** Trusts the authority of --ca and nobody else. */
    TrustManagerFactory trust() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(ca)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        return trust;
    }
}
