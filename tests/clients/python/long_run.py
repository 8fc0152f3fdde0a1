"""Proves that a Python client of the long run works against the daemons it is pointed at, scenario by scenario:

    python long_run.py --client NAME --lookupd HOST:PORT --nsqd HOST:PORT ... --nsqd-http HOST:PORT ...
           [--tls --ca FILE] [--snappy | --deflate] [--auth-secret SECRET] SCENARIO...

Prints "PASS SCENARIO" for each and exits 0, or prints why not and exits 1. What is done with each client is in
long_run_NAME.py. Scenarios stop for whoever runs this: they print LOOK, RESTART, or CHECK, which asks whether anything is
left to be answered, and go on at the next line of input.
"""

import argparse
import collections
import importlib
import logging
import os
import sys
import threading
import time
import traceback

# How long a scenario waits for something that must happen. A loaded machine may need much of it.
PATIENCE = 30.0

CLIENTS = ("ansq", "gnsq", "asyncnsq", "nsq-py")


class Failure(Exception):
    """What a scenario saw and should not have seen."""


class Scenario:
    """A client, the daemons, and the one topic this scenario uses."""

    def __init__(self, client, arguments, name):
        self.client = client
        self.lookupd = arguments.lookupd
        self.nsqds = arguments.nsqd
        self.topic = "%s-%s" % (arguments.client, name)

    def consumer(self, handler, **where):
        """A consumer that finds the nsqds through nsqlookupd, unless it is told their addresses."""
        self.client.consume(self.topic, "ch", handler, **(where or {"lookupd": self.lookupd}))

    def publish_each(self, count):
        """Publish count messages to every nsqd, one PUB each; returns all bodies."""
        bodies = []
        for index, address in enumerate(self.nsqds):
            publisher = self.client.publisher(address)
            for number in range(count):
                body = b"message %d from producer %d" % (number, index)
                publisher.publish(self.topic, body)
                bodies.append(body)
        return bodies

    def until(self, condition, what):
        """Return as soon as the condition holds; the client works meanwhile."""
        limit = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > limit:
                raise Failure("after %d s still not so: %s" % (PATIENCE, what))
            self.client.work()

    def exactly(self, seen, bodies):
        """Wait for every body, and for nothing else and nothing twice."""
        self.until(lambda: len(seen) >= len(bodies), "%d messages delivered" % len(bodies))
        missing = collections.Counter(bodies) - collections.Counter(seen)
        extra = collections.Counter(seen) - collections.Counter(bodies)
        if missing or extra:
            raise Failure("missing %.200s, extra %.200s" % (dict(missing), dict(extra)))
        # Before the nsqds are killed: what they were not told in time they deliver again.
        self.pause("CHECK")

    def pause(self, what):
        """Say what whoever runs this should do now; go on when a line or the end of input says that it is done."""
        print(what, flush=True)
        waiter = threading.Thread(target=sys.stdin.readline, daemon=True)
        waiter.start()
        # Whoever looks waits for FINs that are still on their way, so the client goes on.
        while waiter.is_alive():
            self.client.work()


def collecting(seen):
    """A handler that finishes every message and keeps its body."""

    def handler(message):
        message.finish()
        seen.append(message.body)

    return handler


def direct(scenario):
    """A consumer that was told the nsqds' addresses; all connections stay open while they are looked at."""
    bodies = scenario.publish_each(50)
    seen = []
    scenario.consumer(collecting(seen), nsqds=scenario.nsqds)
    scenario.exactly(seen, bodies)
    scenario.pause("LOOK")


def publish(scenario):
    """Every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once."""
    bodies = scenario.publish_each(100)
    seen = []
    scenario.consumer(collecting(seen))
    scenario.exactly(seen, bodies)


def multi_publish(scenario):
    """Each message of an MPUB is delivered on its own."""
    bodies = []
    for index, address in enumerate(scenario.nsqds):
        batch = [b"message %d from producer %d" % (number, index) for number in range(200)]
        scenario.client.publisher(address).publish_all(scenario.topic, batch)
        bodies += batch
    seen = []
    scenario.consumer(collecting(seen))
    scenario.exactly(seen, bodies)


def requeue(scenario):
    """A message given back at once returns with the same id and the next attempt."""
    bodies = scenario.publish_each(10)
    first, seen, problems = {}, [], []

    def handler(message):
        if message.body not in first:
            first[message.body] = message.id
            message.requeue()
            return
        if message.id != first[message.body] or message.attempts != 2:
            problems.append("%r: attempts %d" % (message.body, message.attempts))
        message.finish()
        seen.append(message.body)

    scenario.consumer(handler)
    scenario.exactly(seen, bodies)
    if problems:
        raise Failure("; ".join(problems[:3]))


def restart(scenario):
    """What was acknowledged before the nsqds are killed is delivered after they came back."""
    bodies = scenario.publish_each(50)
    scenario.pause("RESTART")
    seen = []
    scenario.consumer(collecting(seen))
    scenario.exactly(seen, bodies)


SCENARIOS = {
    function.__name__.replace("_", "-"): function for function in (direct, publish, multi_publish, requeue, restart)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", required=True, choices=CLIENTS)
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
    module = importlib.import_module("long_run_" + arguments.client.replace("-", "_"))
    print("CLIENT %s %s" % (arguments.client, module.VERSION), flush=True)
    code = 0
    # Kept to the end: a task that nobody refers to is dropped, with its connection.
    client = module.Client(arguments)
    for name in arguments.scenarios:
        try:
            SCENARIOS[name](Scenario(client, arguments, name))
        except Exception:  # whatever it is, it is the answer
            print("FAIL %s" % name)
            traceback.print_exc(file=sys.stdout)
            code = 1
            break
        print("PASS %s" % name, flush=True)
    sys.stdout.flush()
    # Some of the clients leave tasks behind that nothing ends.
    os._exit(code)


if __name__ == "__main__":
    main()
