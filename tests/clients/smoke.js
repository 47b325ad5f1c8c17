// Ordinary use through amqplib: declare, publish with confirms, consume, nack, bad declare.
const assert = require("node:assert");
const amqp = require("amqplib");

async function main(port) {
  const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${port}/`, {
    clientProperties: { connection_name: "smoke@amqplib" },
  });
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.assertExchange("smoke.fanout", "fanout", { durable: false, autoDelete: true });
  await channel.bindQueue(queue, "smoke.fanout", "");
  await channel.prefetch(5);

  const seen = [];
  const done = new Promise((resolve, reject) => {
    channel.consume(queue, (message) => {
      if (message === null) return reject(new Error("consumer cancelled"));
      const redelivered = message.fields.redelivered;
      seen.push(message.content.toString() + (redelivered ? "*" : ""));
      if (message.content.toString() === "m3" && !redelivered) {
        channel.nack(message, false, true);
      } else {
        channel.ack(message);
      }
      if (seen.length === 21) resolve();
    });
  });
  for (let n = 0; n < 20; n++) {
    channel.publish("smoke.fanout", "", Buffer.from(`m${n}`), { headers: { n } });
  }
  await channel.waitForConfirms();
  await done;
  assert.ok(seen.includes("m3*"), seen.join(" "));
  assert.equal(new Set(seen.map((it) => it.replace("*", ""))).size, 20);

  const other = await connection.createChannel();
  other.on("error", () => {});
  await assert.rejects(other.checkQueue("smoke.missing"), (error) => {
    assert.equal(error.code, 404);
    assert.match(error.message, /NOT_FOUND/);
    return true;
  });
  await connection.close();
  console.log("amqplib publishes and consumes");
}

main(Number(process.argv[2])).catch((error) => {
  console.error(error);
  process.exit(1);
});
