//! Another image and back: one broker at a time, and whoever publishes hardly notices.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::place::{Place, image, tagged};

impl Place {
    fn broker_uids(&self, brokers: u32) -> BTreeSet<String> {
        (0..brokers).filter_map(|at| self.uid(&format!("prod-broker-{at}"))).collect()
    }

    /// Every broker runs this image and is ready.
    fn all_run(&self, image: &str, brokers: u32) -> bool {
        (0..brokers).all(|at| {
            let pod = format!("prod-broker-{at}");
            let runs = self
                .core(&format!("pods/{pod}"))
                .is_some_and(|it| it["spec"]["containers"][0]["image"] == *image);
            runs && self.pod_is_ready(&pod)
        })
    }
}

#[test]
fn a_new_broker_image_and_the_old_one_again_lose_nothing_under_load() {
    let place = Place::new("upgrade");
    let spec = |image: &str| {
        format!(
            "{{brokers: {{replicas: 3, image: \"{image}\", storage: {{size: 1Gi}}}}, lookupds: {{replicas: 2}}}}"
        )
    };
    // The same programs under another name are another version to Kubernetes.
    let (first, next) = (image("nsqd"), tagged("nsqd", "next"));
    place.prod(&spec(&first));
    place.publishers("1ms");
    place.consumer();
    place.more(1000);
    for next in [&next, &first] {
        let began = Instant::now();
        let mut pods = place.broker_uids(3);
        place.declare("NsqCluster", "prod", &spec(next));
        let mut most_away = 0;
        place.waits(&format!("all brokers run {next}"), || {
            let away = (0..3).filter(|at| !place.pod_is_ready(&format!("prod-broker-{at}"))).count();
            most_away = most_away.max(away);
            pods.extend(place.broker_uids(3));
            place.all_run(next, 3)
        });
        place.ready();
        pods.extend(place.broker_uids(3));
        assert_eq!(pods.len(), 6, "each is restarted once");
        println!("three brokers to {next}: {:.1} s, at most {most_away} away", began.elapsed().as_secs_f64());
        assert_eq!(most_away, 1);
    }
    place.more(1000);
    let tally = place.tally();
    let success = 100.0 * (tally.attempts - tally.refused) as f64 / tally.attempts as f64;
    println!("{success:.3} % of {} publishes succeeded", tally.attempts);
    assert_eq!(tally.lost, 0);
    assert!(success >= 99.9, "{success:.3} %");
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_and_takes_one_broker_at_most() {
    let place = Place::new("image");
    let spec = |image: &str| {
        format!(
            "{{brokers: {{replicas: 2, image: \"{image}\", storage: {{size: 1Gi}}}}, lookupds: {{replicas: 1}}}}"
        )
    };
    place.prod(&spec(&image("nsqd")));
    place.declare("NsqCluster", "prod", &spec(&tagged("nsqd", "nowhere")));
    place.waits("the cluster says so", || {
        place.of("nsqclusters/prod").is_some_and(|it| it["status"].to_string().contains("ImageNotPulled"))
    });
    println!("{}", place.kubectl(&["get", "nsqc,pods"]));
    let ready = (0..2).filter(|at| place.pod_is_ready(&format!("prod-broker-{at}"))).count();
    assert_eq!(ready, 1);
    place.declare("NsqCluster", "prod", &spec(&image("nsqd")));
    place.ready();
}
