// Proves that nsqjs works against the daemons it is pointed at, scenario by scenario:
//
//   node scenarios.js --lookupd HOST:PORT --nsqd HOST:PORT ... [--tls --ca FILE] [--snappy | --deflate]
//        [--auth-secret SECRET] SCENARIO...
//
// Prints "PASS SCENARIO" for each and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a topic.
// Where it prints LOOK, CHECK or RESTART, whoever runs it does so and sends a line of input.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const { parseArgs } = require('node:util')
const { Reader, Writer } = require('nsqjs')
const { version } = require('nsqjs/package.json')

// How long a scenario waits for something that must happen. A loaded machine may need much of it.
const PATIENCE = 20000

const { values: flags, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    lookupd: { type: 'string' },
    nsqd: { type: 'string', multiple: true },
    'nsqd-http': { type: 'string', multiple: true },
    tls: { type: 'boolean', default: false },
    ca: { type: 'string' },
    snappy: { type: 'boolean', default: false },
    deflate: { type: 'boolean', default: false },
    'auth-secret': { type: 'string' },
  },
})

/** What a connection negotiates beyond the plain protocol. */
function features() {
  const options = { snappy: flags.snappy, deflate: flags.deflate, tls: flags.tls }
  if (flags.ca) options.ca = fs.readFileSync(flags.ca)
  if (flags['auth-secret']) options.authSecret = flags['auth-secret']
  return options
}

/** A promise with a limit: `start` gets the two ways out. */
function promised(what, start) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`after ${PATIENCE} ms still not so: ${what}`)), PATIENCE)
    const settle = (way) => (value) => {
      clearTimeout(limit)
      way(value)
    }
    start(settle(resolve), settle(reject))
  })
}

/** A producer that said it is ready; what goes wrong later rejects the publish that was waiting for its answer. */
async function connected(address) {
  const [host, port] = address.split(':')
  const writer = new Writer(host, Number(port), features())
  await promised(`a producer at ${address} is ready`, (resolve, reject) => {
    writer.on('ready', resolve)
    writer.on('error', reject)
    writer.connect()
  })
  return writer
}

function published(writer, topic, bodies) {
  return promised('the answer to a publish', (resolve, reject) => {
    writer.publish(topic, bodies, (error) => (error ? reject(error) : resolve()))
  })
}

/** Publishes `count` messages to every nsqd with `send`. Gives the producers, still connected, and all bodies. */
async function publishEach(topic, count, send) {
  const writers = []
  const bodies = []
  for (const [index, address] of flags.nsqd.entries()) {
    const writer = await connected(address)
    const batch = Array.from({ length: count }, (_, number) => `message ${number} from producer ${index}`)
    await send(writer, topic, batch)
    writers.push(writer)
    bodies.push(...batch)
  }
  return { writers, bodies }
}

async function oneByOne(writer, topic, batch) {
  for (const body of batch) await published(writer, topic, body)
}

async function asOneBatch(writer, topic, batch) {
  await published(writer, topic, batch)
}

async function close(writers) {
  for (const writer of writers) {
    await promised('a producer is closed', (resolve) => {
      writer.on('closed', resolve)
      writer.close()
    })
  }
}

/**
 * Consumes until `handle` has taken every body once, and nothing else. `handle` answers the message and says whether
 * it counts. Gives the consumer, still connected.
 */
async function drain(topic, bodies, sources, handle) {
  const left = new Set(bodies)
  const reader = new Reader(topic, 'ch', {
    maxInFlight: 50,
    lookupdPollInterval: 1,
    maxBackoffDuration: 0,
    ...sources,
    ...features(),
  })
  await promised(`${bodies.length} messages delivered`, (resolve, reject) => {
    reader.on('error', reject)
    reader.on('message', (message) => {
      const body = message.body.toString()
      if (!handle(message)) return
      if (!left.delete(body)) reject(new Error(`${body} came without being owed`))
      if (left.size === 0) resolve()
    })
    reader.connect()
  })
  return reader
}

/** Closes a consumer once its FINs are with the nsqds: its CLS overtakes those that a stream still holds. */
async function leave(reader) {
  await pause('CHECK')
  reader.close()
}

function finish(message) {
  message.finish()
  return true
}

const byAddress = () => ({ nsqdTCPAddresses: flags.nsqd })
const throughLookupd = () => ({ lookupdHTTPAddresses: [flags.lookupd] })

const scenarios = {
  /** A consumer that was told the nsqds' addresses; all connections stay open while they are looked at. */
  async direct(topic) {
    const { writers, bodies } = await publishEach(topic, 50, oneByOne)
    const reader = await drain(topic, bodies, byAddress(), finish)
    await pause('LOOK')
    await close(writers)
    reader.close()
  },

  /** Every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once. */
  async publish(topic) {
    const { writers, bodies } = await publishEach(topic, 100, oneByOne)
    await close(writers)
    await leave(await drain(topic, bodies, throughLookupd(), finish))
  },

  /** Each message of an MPUB is delivered on its own. */
  async 'multi-publish'(topic) {
    const { writers, bodies } = await publishEach(topic, 200, asOneBatch)
    await close(writers)
    await leave(await drain(topic, bodies, throughLookupd(), finish))
  },

  /** A message given back at once returns with the next attempt and the same id. */
  async requeue(topic) {
    const { writers, bodies } = await publishEach(topic, 10, oneByOne)
    await close(writers)
    const first = new Map()
    const reader = await drain(topic, bodies, throughLookupd(), (message) => {
      const body = message.body.toString()
      if (!first.has(body)) {
        first.set(body, message.id)
        message.requeue(0, false)
        return false
      }
      if (message.id !== first.get(body) || message.attempts !== 2) {
        throw new Error(`${body}: id ${message.id} attempts ${message.attempts} after id ${first.get(body)}`)
      }
      return finish(message)
    })
    await leave(reader)
  },

  /** What was acknowledged before the nsqds are killed is delivered after they came back. */
  async restart(topic) {
    const { writers, bodies } = await publishEach(topic, 50, oneByOne)
    await close(writers)
    await pause('RESTART')
    await leave(await drain(topic, bodies, throughLookupd(), finish))
  },
}

let input
const lines = []
const waiting = []

/** Says what whoever runs this should do now; goes on when a line or the end of input says that it is done. */
function pause(what) {
  console.log(what)
  if (!input) {
    input = readline.createInterface({ input: process.stdin })
    const next = () => (waiting.length ? waiting.shift()() : lines.push(true))
    input.on('line', next)
    input.on('close', () => {
      lines.push(...Array(10).fill(true))
      waiting.forEach((go) => go())
    })
  }
  return lines.pop() ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))
}

async function main() {
  console.log(`CLIENT nsqjs ${version}`)
  for (const name of wanted) {
    if (!scenarios[name]) throw new Error(`unknown scenario ${name}`)
    try {
      await scenarios[name](`node-${name}`)
    } catch (error) {
      console.log(`FAIL ${name}: ${error.stack}`)
      return 1
    }
    console.log(`PASS ${name}`)
  }
  return 0
}

process.on('uncaughtException', (error) => {
  console.log(`FAIL: ${error.stack}`)
  process.exit(1)
})
main().then((code) => process.exit(code))
