"""ansq as long_run.py uses it: asyncio, whose loop runs while the scenario waits."""

import asyncio
from importlib import metadata

import ansq
from ansq.tcp.types import ConnectionFeatures, ConnectionOptions

VERSION = metadata.version("ansq")

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


class Client:
    """Publishers and consumers with the features that were asked for."""

    def __init__(self, arguments):
        features = ConnectionFeatures(tls_v1=arguments.tls, snappy=arguments.snappy, deflate=arguments.deflate)
        self.options = ConnectionOptions(features=features)
        self.tasks = []
        self.writers = []

    def work(self):
        """Let the loop go on for a moment."""
        LOOP.run_until_complete(asyncio.sleep(0.005))
        for task in self.tasks:
            if task.done():
                task.result()

    def publisher(self, address):
        """A connected publisher."""
        writer = ansq.create_writer([address], connection_options=self.options)
        self.writers.append(LOOP.run_until_complete(writer))
        return Publisher(self.writers[-1])

    def consume(self, topic, channel, handler, nsqds=None, lookupd=None):
        """Hand every message to the handler from now on."""
        reader = ansq.create_reader(
            topic,
            channel,
            nsqd_tcp_addresses=nsqds,
            lookupd_http_addresses=[lookupd] if lookupd else None,
            lookupd_poll_interval=1000,
            connection_options=self.options,
        )
        self.tasks.append(LOOP.create_task(self.deliver(LOOP.run_until_complete(reader), handler)))

    async def deliver(self, reader, handler):
        """One message after the other: what the handler wants is done before the next."""
        async for message in reader.messages():
            asked = Message(message)
            handler(asked)
            await asked.answer()


class Publisher:
    """One connection that publishes."""

    def __init__(self, writer):
        self.writer = writer

    def publish(self, topic, body):
        """PUB."""
        confirm(LOOP.run_until_complete(self.writer.pub(topic, body)))

    def publish_all(self, topic, bodies):
        """MPUB."""
        confirm(LOOP.run_until_complete(self.writer.mpub(topic, *bodies)))


def confirm(response):
    """An error is an answer too, and no exception."""
    if not response.is_ok:
        raise RuntimeError("the answer to a publish is %r" % response)


class Message:
    """A message, and what is to be answered."""

    def __init__(self, message):
        self.message = message
        self.body, self.id, self.attempts = message.body, message.id, message.attempts

    def finish(self):
        """FIN."""
        self.answer = self.message.fin

    def requeue(self):
        """REQ without a delay."""
        self.answer = lambda: self.message.req(0)
