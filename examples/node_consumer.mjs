// Account events from RabbitMQ, each acted on once: `npm install amqplib`, then `node examples/node_consumer.mjs`.
// The ids of this process's last events are kept in memory; keep them in a database to know repetitions after a restart, too.
import amqp from "amqplib";

const env = process.env;
const QUEUE = env.USER_EVENTS_QUEUE ?? "gainium.user-events";
const KEPT = 100_000;
const done = new Set();

/**
 * What your program does with an event.
 * @param {string} stream
 * @param {string} kind
 * @param {any} body a value of `AccountEvent` of types.d.ts
 */
async function act(stream, kind, body) {
  console.log(stream, kind, body.orderStatus ?? "", body.totalTradeQuantity ?? "");
}

function remember(key) {
  done.add(key);
  if (done.size > KEPT) done.delete(done.values().next().value);
}

const connection = await amqp.connect({
  hostname: env.RABBIT_HOST ?? "127.0.0.1",
  port: Number(env.RABBIT_PORT ?? 5672),
  vhost: env.RABBIT_VHOST ?? "/",
  username: env.RABBIT_USER ?? "guest",
  password: env.RABBIT_PASSWORD ?? "guest",
});
connection.on("close", () => process.exit(1)); // whoever started it starts it again
const channel = await connection.createChannel();
await channel.prefetch(1); // one at a time keeps the order of an account
await channel.consume(QUEUE, async (message) => {
  if (message === null) process.exit(1); // the queue was deleted
  const stream = message.properties.headers.stream;
  const key = `${stream}:${message.properties.messageId}`;
  if (!done.has(key)) {
    await act(stream, message.properties.type, JSON.parse(message.content.toString()));
    remember(key); // after the deed: what a crash interrupts is done again
  }
  channel.ack(message);
});
