"""Proves that pynsq works against the daemons it is pointed at, scenario by scenario:

    python scenarios.py --lookupd HOST:PORT --nsqd HOST:PORT ... --nsqd-http HOST:PORT ...
           [--tls --ca FILE] [--snappy | --deflate] [--auth-secret SECRET] SCENARIO...

Prints "PASS SCENARIO" for each and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a topic.
Two of them stop half-way for whoever runs this: they print LOOK or RESTART and go on at the next line of input.
"""

import argparse
import asyncio
import collections
import logging
import ssl
import sys
import time
import traceback
import urllib.parse
import urllib.request

import nsq

# How long a scenario waits for something that must happen. A loaded machine may need much of it.
PATIENCE = 20.0


class Failure(Exception):
    """What a scenario saw and should not have seen."""


class Cluster:
    """Where the daemons are, and the one topic this run uses."""

    def __init__(self, arguments, scenario):
        self.lookupd = arguments.lookupd
        self.nsqds = arguments.nsqd
        self.nsqds_http = arguments.nsqd_http
        self.topic = "python-" + scenario
        self.features = features(arguments)

    def create_channels(self, *channels):
        """The topic with these channels on every nsqd, so that later messages are owed to all of them."""
        for address in self.nsqds_http:
            self._post(address, "/topic/create", topic=self.topic)
            for channel in channels:
                self._post(address, "/channel/create", topic=self.topic, channel=channel)

    @staticmethod
    def _post(address, path, **query):
        url = "http://%s%s?%s" % (address, path, urllib.parse.urlencode(query))
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=PATIENCE) as response:
            response.read()

    async def writers(self):
        """One connected producer per nsqd."""
        writers = [nsq.Writer([address], **self.features) for address in self.nsqds]
        for writer in writers:
            await until(lambda: writer.conns, "a producer is connected")
        return writers

    def reader(self, handler, channel="ch", **options):
        """A consumer that finds the nsqds through nsqlookupd, unless it is told their addresses."""
        options = {"max_in_flight": 50, "lookupd_poll_interval": 1, "lookupd_poll_jitter": 0.0, **options}
        if "nsqd_tcp_addresses" not in options:
            options["lookupd_http_addresses"] = [self.lookupd]
        return nsq.Reader(
            topic=self.topic, channel=channel, message_handler=handler, **self.features, **options
        )

    async def publish_each(self, count):
        """Publish count messages to every nsqd, one PUB each; returns all bodies."""
        bodies = []
        for index, writer in enumerate(await self.writers()):
            for number in range(count):
                body = b"message %d from producer %d" % (number, index)
                await answered(writer.pub, self.topic, body)
                bodies.append(body)
        return bodies


def features(arguments):
    """What a connection negotiates beyond the plain protocol."""
    options = {"snappy": arguments.snappy, "deflate": arguments.deflate}
    if arguments.tls:
        options["tls_v1"] = True
        options["tls_options"] = {"ca_certs": arguments.ca, "cert_reqs": ssl.CERT_REQUIRED}
    if arguments.auth_secret:
        options["auth_secret"] = arguments.auth_secret
    return options


async def pause(what):
    """Say what whoever runs this should do now; go on when a line or the end of input says that it is done."""
    print(what, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def answered(publish, *arguments):
    """Publish and wait for the daemon's answer."""
    answer = asyncio.get_running_loop().create_future()
    publish(*arguments, callback=lambda _connection, data: answer.done() or answer.set_result(data))
    data = await asyncio.wait_for(answer, PATIENCE)
    if isinstance(data, Exception):
        raise data
    if data != b"OK":
        raise Failure("the answer to a publish is %r" % data)


async def until(condition, what):
    """Return as soon as the condition holds."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise Failure("after %d s still not so: %s" % (PATIENCE, what))
        await asyncio.sleep(0.005)


async def exactly(seen, bodies):
    """Wait for every body, and for nothing else and nothing twice."""
    await until(lambda: len(seen) >= len(bodies), "%d messages delivered" % len(bodies))
    missing = collections.Counter(bodies) - collections.Counter(seen)
    extra = collections.Counter(seen) - collections.Counter(bodies)
    if missing or extra:
        raise Failure("missing %.200s, extra %.200s" % (dict(missing), dict(extra)))


def collecting(seen):
    """A handler that finishes every message and keeps its body."""

    def handler(message):
        seen.append(message.body)
        return True

    return handler


async def publish(cluster):
    """Every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once."""
    bodies = await cluster.publish_each(100)
    seen = []
    cluster.reader(collecting(seen))
    await exactly(seen, bodies)


async def multi_publish(cluster):
    """Each message of an MPUB is delivered on its own."""
    bodies = []
    for index, writer in enumerate(await cluster.writers()):
        batch = [b"message %d from producer %d" % (number, index) for number in range(200)]
        await answered(writer.mpub, cluster.topic, batch)
        bodies += batch
    seen = []
    cluster.reader(collecting(seen))
    await exactly(seen, bodies)


async def deferred(cluster):
    """A DPUB is not delivered before its time."""
    delay = 0.7
    cluster.create_channels("ch")
    seen = []

    def handler(message):
        seen.append((time.monotonic(), message.attempts))
        return True

    cluster.reader(handler)
    began = time.monotonic()
    for writer in await cluster.writers():
        await answered(writer.dpub, cluster.topic, int(delay * 1000), b"later")
    await until(lambda: len(seen) == len(cluster.nsqds), "the deferred messages are delivered")
    for at, attempts in seen:
        if at - began < delay or attempts != 1:
            raise Failure("attempt %d came after %.3f s and not after %.3f s" % (attempts, at - began, delay))


async def fail_once(cluster, earliest, fail, **options):
    """The first delivery of each message fails; the second has the same id, attempts 2, and is not too early."""
    bodies = await cluster.publish_each(10)
    first, seen, problems = {}, [], []

    def handler(message):
        message.enable_async()
        if message.body not in first:
            first[message.body] = (message.id, time.monotonic())
            fail(message)
            return None
        identity, at = first[message.body]
        late_enough = time.monotonic() - at >= earliest
        if message.id != identity or message.attempts != 2 or not late_enough:
            problems.append("%r: attempts %d after %.3f s" % (message.body, message.attempts, time.monotonic() - at))
        seen.append(message.body)
        message.finish()
        return None

    cluster.reader(handler, **options)
    await exactly(seen, bodies)
    if problems:
        raise Failure("; ".join(problems[:3]))


async def requeue(cluster):
    """A message given back at once returns with the next attempt."""
    await fail_once(cluster, 0, lambda message: message.requeue(backoff=False, delay=0))


async def requeue_with_delay(cluster):
    """It does not return before the delay that was asked for."""
    await fail_once(cluster, 1.0, lambda message: message.requeue(backoff=False, delay=1))


async def timeout(cluster):
    """A message that nobody answers returns after the consumer's own msg_timeout."""
    # The daemon's second began before our handler saw the message: half of it is what can be asked for.
    await fail_once(cluster, 0.5, lambda message: None, msg_timeout=1)


async def touch(cluster):
    """A message touched in time is not delivered twice, however long its handler takes."""
    bodies = await cluster.publish_each(1)
    seen, finished = [], []

    async def handler(message):
        seen.append(message.body)
        # The work itself: 3.6 s, more than two timeouts.
        for _ in range(12):
            await asyncio.sleep(0.3)
            message.touch()
        finished.append(message.body)
        return True

    cluster.reader(handler, msg_timeout=1.5)
    await until(lambda: len(finished) == len(bodies), "the long work is done")
    await exactly(seen, bodies)


async def attempts(cluster):
    """pynsq gives a message up after max_tries deliveries, numbered 1, 2, 3."""
    bodies = await cluster.publish_each(1)
    seen, given_up = collections.defaultdict(list), []

    def handler(message):
        seen[message.body].append(message.attempts)
        message.requeue(backoff=False, delay=0)
        message.enable_async()

    reader = cluster.reader(handler, max_tries=3)
    reader.giving_up = lambda message: given_up.append(message.body)
    await exactly(given_up, bodies)
    if any(numbers != [1, 2, 3] for numbers in seen.values()) or len(seen) != len(bodies):
        raise Failure("deliveries %s" % dict(seen))


async def several_consumers(cluster):
    """Consumers of one channel share its messages, each message going to exactly one of them."""
    cluster.create_channels("ch")
    shares = [[], [], []]
    readers = [cluster.reader(collecting(share), max_in_flight=4) for share in shares]
    for reader in readers:
        await until(lambda: len(reader.conns) == len(cluster.nsqds), "a consumer is connected to every nsqd")
    bodies = await cluster.publish_each(150)
    await until(lambda: sum(map(len, shares)) >= len(bodies), "all messages are delivered")
    await exactly([body for share in shares for body in share], bodies)
    if not all(shares):
        raise Failure("shares %s" % [len(share) for share in shares])


async def several_channels(cluster):
    """Every channel of a topic gets every message."""
    channels = ["archive", "billing", "shipping"]
    cluster.create_channels(*channels)
    seen = {channel: [] for channel in channels}
    for channel in channels:
        cluster.reader(collecting(seen[channel]), channel=channel)
    bodies = await cluster.publish_each(50)
    for channel in channels:
        await exactly(seen[channel], bodies)


async def backoff(cluster):
    """pynsq answers failures with RDY 0 and one probe; after a success everything is delivered."""
    bodies = await cluster.publish_each(10)
    seen, failures = [], []

    def handler(message):
        if len(failures) < 2:
            failures.append(message.body)
            return False
        seen.append(message.body)
        return True

    cluster.reader(handler, requeue_delay=0, max_backoff_duration=0.5)
    await exactly(seen, bodies)


async def heartbeat(cluster):
    """A consumer with heartbeats of one second stays connected while nothing happens, and then gets its message."""
    cluster.create_channels("ch")
    seen, beats = [], []
    reader = cluster.reader(collecting(seen), heartbeat_interval=1)
    reader.heartbeat = lambda connection: beats.append(connection.id)
    # Three of a connection: the daemon cuts one that was silent for two.
    await until(lambda: min(map(beats.count, reader.conns), default=0) >= 3, "three heartbeats on each connection")
    if len(reader.conns) != len(cluster.nsqds):
        raise Failure("%d connections are left" % len(reader.conns))
    bodies = await cluster.publish_each(1)
    await exactly(seen, bodies)


async def direct(cluster):
    """A consumer that was told the nsqds' addresses; all connections stay open while they are looked at."""
    bodies = await cluster.publish_each(50)
    seen = []
    cluster.reader(collecting(seen), nsqd_tcp_addresses=cluster.nsqds)
    await exactly(seen, bodies)
    await pause("LOOK")


async def restart(cluster):
    """What was acknowledged before the nsqds are killed is delivered after they came back."""
    bodies = await cluster.publish_each(50)
    await pause("RESTART")
    seen = []
    cluster.reader(collecting(seen))
    await exactly(seen, bodies)


SCENARIOS = {
    function.__name__.replace("_", "-"): function
    for function in (
        publish,
        multi_publish,
        deferred,
        requeue,
        requeue_with_delay,
        backoff,
        touch,
        timeout,
        attempts,
        several_consumers,
        several_channels,
        heartbeat,
        direct,
        restart,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lookupd", required=True)
    parser.add_argument("--nsqd", action="append", required=True)
    parser.add_argument("--nsqd-http", action="append", required=True)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--ca")
    parser.add_argument("--snappy", action="store_true")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--auth-secret")
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS, metavar="SCENARIO")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    print("CLIENT pynsq %s" % nsq.__version__, flush=True)
    for scenario in arguments.scenarios:
        try:
            asyncio.run(SCENARIOS[scenario](Cluster(arguments, scenario)))
        except Exception:  # whatever it is, it is the answer
            print("FAIL %s" % scenario)
            traceback.print_exc(file=sys.stdout)
            return 1
        print("PASS %s" % scenario, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
