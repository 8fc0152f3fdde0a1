"""asyncnsq as long_run.py uses it: asyncio, whose loop runs while the scenario waits."""

import asyncio

import asyncnsq

VERSION = asyncnsq.__version__

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


class Client:
    """Publishers and consumers with the features that were asked for."""

    def __init__(self, arguments):
        self.features = {"tls_v1": arguments.tls, "snappy": arguments.snappy, "deflate": arguments.deflate}
        if arguments.auth_secret:
            self.features["auth_secret"] = arguments.auth_secret
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
        host, port = address.split(":")
        writer = asyncnsq.create_writer(host=host, port=int(port), loop=LOOP, **self.features)
        self.writers.append(LOOP.run_until_complete(writer))
        return Publisher(self.writers[-1])

    def consume(self, topic, channel, handler, nsqds=None, lookupd=None):
        """Hand every message to the handler from now on."""
        if lookupd:
            where = {"lookupd_http_addresses": [lookupd.split(":")]}
            LOOP.run_until_complete(self.subscribe(topic, channel, handler, where))
        # A reader of several nsqds sends RDY to the second before SUB, and that connection is closed, by stock too.
        for address in nsqds or []:
            where = {"nsqd_tcp_addresses": [address]}
            LOOP.run_until_complete(self.subscribe(topic, channel, handler, where))

    async def subscribe(self, topic, channel, handler, where):
        """Connect and go on in a task. A reader asks nsqlookupd once, when it subscribes."""
        reader = await asyncnsq.create_reader(loop=LOOP, **where, **self.features)
        await reader.subscribe(topic, channel)
        self.tasks.append(LOOP.create_task(self.deliver(reader, handler)))

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
    """Anything but OK is a failure."""
    if response != b"OK":
        raise RuntimeError("the answer to a publish is %r" % response)


class Message:
    """A message, and what is to be answered."""

    def __init__(self, message):
        self.message = message
        self.body, self.id, self.attempts = message.body, message.message_id, message.attempts

    def finish(self):
        """FIN."""
        self.answer = self.message.fin

    def requeue(self):
        """REQ without a delay."""
        self.answer = lambda: self.message.req(0)
