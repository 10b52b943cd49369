// kafkajs in groups, its transactions and its administration of groups.
const assert = require("node:assert/strict");
const { Kafka, AssignerProtocol, logLevel } = require("kafkajs");

const bootstrap = process.argv[2] || "127.0.0.1:9092";
const kafka = new Kafka({ brokers: [bootstrap], clientId: "ringlog-tests", logLevel: logLevel.NOTHING, retry: { retries: 8, initialRetryTime: 50 } });
const admin = kafka.admin();
const tests = [];
const test = (name, run) => tests.push([name, run]);
const fresh = (label) => `${label}-${process.pid}-${Math.floor(Math.random() * 2 ** 30).toString(16)}`;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function create(label, numPartitions = 1) {
  const topic = fresh(label);
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
  return topic;
}

async function fill(topic, count, partitions = 1, start = 0) {
  const producer = kafka.producer();
  await producer.connect();
  const messages = Array.from({ length: count }, (_, n) => ({ value: `${start + n}`, partition: n % partitions }));
  await producer.send({ topic, messages });
  await producer.disconnect();
}

async function until(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

// A member that keeps what it reads and knows what it owns.
async function member(groupId, topic, settings = {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 5000, maxWaitTimeInMs: 200, ...settings });
  const shown = { consumer, values: [], owned: 0, stop: () => consumer.disconnect() };
  consumer.on(consumer.events.GROUP_JOIN, (event) => {
    shown.owned = (event.payload.memberAssignment[topic] || []).length;
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => void shown.values.push(message.value.toString()) });
  return shown;
}

async function readCommitted(topic, count, readUncommitted = false) {
  const consumer = kafka.consumer({ groupId: fresh("js-judge"), readUncommitted, sessionTimeout: 6000, maxWaitTimeInMs: 200 });
  const values = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => void values.push(message.value.toString()) });
  await until(`${count} records`, () => values.length >= count);
  await sleep(300);
  await consumer.disconnect();
  return values;
}

test("partitions_are_shared_and_handed_over", async () => {
  const [topic, group] = [await create("js-share", 4), fresh("js-share")];
  const first = await member(group, topic);
  await until("all four", () => first.owned === 4);
  const second = await member(group, topic);
  await until("two each", () => first.owned === 2 && second.owned === 2);
  await second.stop();
  await until("four again", () => first.owned === 4);
  await first.stop();
});

test("reading_goes_on_where_it_was_committed", async () => {
  const [topic, group] = [await create("js-commit", 2), fresh("js-commit")];
  await fill(topic, 40, 2);
  const first = await member(group, topic);
  await until("40 records", () => first.values.length >= 40);
  await first.stop();
  await fill(topic, 10, 2, 40);
  const second = await member(group, topic);
  await until("10 records", () => second.values.length >= 10);
  await sleep(300);
  await second.stop();
  assert.deepEqual(second.values.map(Number).sort((a, b) => a - b), [40, 41, 42, 43, 44, 45, 46, 47, 48, 49]);
});

test("offsets_are_fetched_set_and_reset", async () => {
  const [topic, groupId] = [await create("js-offsets"), fresh("js-offsets")];
  await fill(topic, 10);
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "4" }] });
  const fetch = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset;
  assert.equal(await fetch(), "4");
  await admin.resetOffsets({ groupId, topic, earliest: true });
  // The client commits the name of the beginning, not where that is.
  assert.equal(await fetch(), "-2");
  const third = await member(groupId, topic);
  await until("all ten", () => third.values.length === 10);
  await third.stop();
  assert.equal(await fetch(), "10");
});

test("groups_are_listed_described_and_deleted", async () => {
  const [topic, group] = [await create("js-groups"), fresh("js-groups")];
  const only = await member(group, topic);
  await until("its partition", () => only.owned === 1);
  const listed = await admin.listGroups();
  assert.deepEqual(listed.groups.filter((g) => g.groupId === group), [{ groupId: group, protocolType: "consumer" }]);
  const [shown] = (await admin.describeGroups([group])).groups;
  assert.equal(shown.state, "Stable");
  assert.equal(shown.members.length, 1);
  const { assignment } = AssignerProtocol.MemberAssignment.decode(shown.members[0].memberAssignment);
  assert.deepEqual(assignment, { [topic]: [0] });
  await assert.rejects(admin.deleteGroups([group]), (error) => error.groups[0].error.type === "NON_EMPTY_GROUP");
  await only.stop();
  await admin.deleteGroups([group]);
  await assert.rejects(admin.deleteGroups([group]), (error) => error.groups[0].error.type === "GROUP_ID_NOT_FOUND");
});

test("transactions_are_committed_and_aborted", async () => {
  const [topic, source, groupId] = [await create("js-txn"), await create("js-source"), fresh("js-txn")];
  const producer = kafka.producer({ transactionalId: fresh("js-txn"), idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let n = 0; n < 6; n++) {
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [{ value: `${n}` }] });
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions: [{ partition: 0, offset: `${n}` }] }] });
    await (n % 2 ? transaction.abort() : transaction.commit());
  }
  await producer.disconnect();
  assert.deepEqual(await readCommitted(topic, 3), ["0", "2", "4"]);
  assert.deepEqual(await readCommitted(topic, 6, true), ["0", "1", "2", "3", "4", "5"]);
  const [at] = await admin.fetchOffsets({ groupId, topics: [source] });
  assert.equal(at.partitions[0].offset, "4");
});

test("a_second_producer_fences_the_first", async () => {
  const [topic, transactionalId] = [await create("js-fence"), fresh("js-fence")];
  const start = async () => {
    const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, retry: { retries: 2 } });
    await producer.connect();
    return [producer, await producer.transaction()];
  };
  const [first, fenced] = await start();
  await fenced.send({ topic, messages: [{ value: "of the fenced" }] });
  const [second, good] = await start();
  await good.send({ topic, messages: [{ value: "of the second" }] });
  await good.commit();
  await assert.rejects(fenced.commit());
  assert.deepEqual(await readCommitted(topic, 1), ["of the second"]);
  await Promise.allSettled([first.disconnect(), second.disconnect()]);
});

(async () => {
  const wanted = process.argv.slice(3);
  let failed = 0;
  await admin.connect();
  for (const [name, run] of tests) {
    if (wanted.length && !wanted.includes(name)) continue;
    const limit = new Promise((_, reject) => setTimeout(() => reject(new Error("no end after 90 s")), 90000).unref());
    try {
      await Promise.race([run(), limit]);
      console.log(`ok kafkajs-groups ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL kafkajs-groups ${name}: ${`${error.message}`.split(/\s+/).join(" ").slice(0, 400)}`);
    }
  }
  process.exit(failed ? 1 : 0);
})().catch((error) => {
  console.log(`FAIL kafkajs-groups connect: ${error.message}`);
  process.exit(1);
});
