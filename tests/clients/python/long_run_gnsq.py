"""gnsq as long_run.py uses it: gevent, whose greenlets run while the scenario waits."""

import ssl

import gevent
import gnsq

from gnsq.version import __version__ as VERSION


class Client:
    """Publishers and consumers with the features that were asked for."""

    def __init__(self, arguments):
        self.features = {"snappy": arguments.snappy, "deflate": arguments.deflate}
        if arguments.tls:
            self.features["tls_v1"] = True
            self.features["tls_options"] = {"ca_certs": arguments.ca, "cert_reqs": ssl.CERT_REQUIRED}
        if arguments.auth_secret:
            self.features["auth_secret"] = arguments.auth_secret.encode()

        self.publishers = []

    def work(self):
        """Let the greenlets go on for a moment."""
        gevent.sleep(0.005)

    def publisher(self, address):
        """A connected publisher."""
        if any(self.features.values()):
            host, port = address.split(":")
            connection = gnsq.NsqdTCPClient(host, int(port), **self.features)
            connection.connect()
            connection.identify()
            self.publishers.append(Connection(connection))
        else:
            producer = gnsq.Producer(address)
            producer.start()
            self.publishers.append(Publisher(producer))
        return self.publishers[-1]

    def consume(self, topic, channel, handler, nsqds=None, lookupd=None):
        """Hand every message to the handler from now on."""

        def deliver(_consumer, message):
            message.enable_async()
            handler(Message(message))

        consumer = gnsq.Consumer(
            topic,
            channel,
            nsqd_tcp_addresses=nsqds or [],
            lookupd_http_addresses=["http://" + lookupd] if lookupd else [],
            lookupd_poll_interval=1,
            max_in_flight=50,
            message_handler=deliver,
            **self.features,
        )
        consumer.start(block=False)


class Publisher:
    """One connection that publishes."""

    def __init__(self, producer):
        self.producer = producer

    def publish(self, topic, body):
        """PUB."""
        self.producer.publish(topic, body, timeout=20)

    def publish_all(self, topic, bodies):
        """MPUB."""
        self.producer.multipublish(topic, bodies, timeout=20)


class Connection:
    """A connection without a Producer, which takes the answer to TLS, compression or AUTH for that to a publish."""

    def __init__(self, connection):
        self.connection = connection

    def publish(self, topic, body):
        """PUB."""
        self.connection.publish(topic, body)
        self.connection.check_ok()

    def publish_all(self, topic, bodies):
        """MPUB."""
        self.connection.multipublish(topic, bodies)
        self.connection.check_ok()


class Message:
    """A message that is answered at once."""

    def __init__(self, message):
        self.body, self.id, self.attempts = message.body, message.id, message.attempts
        self.finish = message.finish
        self.requeue = lambda: message.requeue(0, backoff=False)
