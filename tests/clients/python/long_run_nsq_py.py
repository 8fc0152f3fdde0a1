"""nsq-py as long_run.py uses it: sockets that are read when the scenario waits."""

import logging
import time

import nsq
from nsq.client import Client as Connections
from nsq.reader import Reader
from nsq.response import Message as Delivery

VERSION = nsq.__version__

nsq.logger.setLevel(logging.ERROR)


class Client:
    """Publishers and consumers with the features that were asked for."""

    def __init__(self, arguments):
        self.features = {"timeout": 0.005, "connect_timeout": 5.0}
        for feature in ("snappy", "deflate"):
            if getattr(arguments, feature):
                self.features[feature] = True
        if arguments.tls:
            self.features["tls_v1"] = True
        if arguments.auth_secret:
            self.features["auth_secret"] = arguments.auth_secret.encode()
        self.consumers = []
        self.publishers = []

    def work(self):
        """Read what has come for the consumers, and answer it."""
        if not self.consumers:
            time.sleep(0.005)
        for reader, handler in self.consumers:
            for delivery in reader.read():
                if isinstance(delivery, Delivery):
                    handler(Message(delivery))

    def publisher(self, address):
        """A connected publisher; kept, for its connection is to stay while others look at it."""
        connections = Connections(nsqd_tcp_addresses=[address], **self.features)
        if "auth_secret" in self.features:
            # Else the answer to AUTH is taken for that to the first publish.
            connections.wait_response()
        publisher = Publisher(connections)
        self.publishers.append(publisher)
        return publisher

    def consume(self, topic, channel, handler, nsqds=None, lookupd=None):
        """Hand every message to the handler from now on."""
        where = {"nsqd_tcp_addresses": nsqds} if nsqds else {"lookupd_http_addresses": ["http://" + lookupd]}
        reader = Reader(topic.encode(), channel.encode(), max_in_flight=50, **where, **self.features)
        self.consumers.append((reader, handler))


class Publisher:
    """One connection that publishes."""

    def __init__(self, client):
        self.client = client

    def publish(self, topic, body):
        """PUB."""
        confirm(self.client.pub(topic.encode(), body))

    def publish_all(self, topic, bodies):
        """MPUB."""
        confirm(self.client.mpub(topic.encode(), *bodies))


def confirm(responses):
    """An error is an answer too, and no exception."""
    if [response.data for response in responses] != [b"OK"]:
        raise RuntimeError("the answers to a publish are %s" % [response.data for response in responses])


class Message:
    """A message; what is answered goes out with the next read."""

    def __init__(self, delivery):
        self.body, self.id, self.attempts = delivery.body, delivery.id, delivery.attempts
        self.finish = delivery.fin
        self.requeue = lambda: delivery.req(0)
