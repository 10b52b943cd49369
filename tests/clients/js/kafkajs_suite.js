// kafkajs: produce with the codecs it has, administer, look offsets up. It reads only as a member of a group,
// which is another suite's matter; what it wrote is read back by kcat.
const { execFileSync } = require("node:child_process");
const assert = require("node:assert/strict");
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require("kafkajs");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const bootstrap = process.argv[2] || "127.0.0.1:9092";
const kafka = new Kafka({ brokers: [bootstrap], clientId: "ringlog-tests", logLevel: logLevel.NOTHING, retry: { retries: 3 } });
const admin = kafka.admin();
const tests = [];
const test = (name, run) => tests.push([name, run]);
const fresh = (label) => `${label}-${process.pid}-${Math.floor(Math.random() * 2 ** 30).toString(16)}`;

async function create(label, numPartitions = 1, configEntries = []) {
  const topic = fresh(label);
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: true });
  return topic;
}

function readBack(topic) {
  const args = ["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k=%s\n"];
  return execFileSync("kcat", args, { encoding: "utf8", timeout: 20000 }).trimEnd().split("\n");
}

async function produce(topic, settings, send) {
  const producer = kafka.producer(settings);
  await producer.connect();
  try {
    return await send(producer);
  } finally {
    await producer.disconnect();
  }
}

test("every_codec_it_has_is_stored", async () => {
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy]) {
    const topic = await create(`js-codec-${compression}`);
    const messages = Array.from({ length: 200 }, (_, n) => ({ key: `k${n}`, value: `value ${n} `.repeat(20).trim(), partition: 0 }));
    const [answer] = await produce(topic, {}, (p) => p.send({ topic, compression, messages }));
    assert.equal(answer.errorCode, 0);
    assert.equal(answer.baseOffset, "0");
    assert.deepEqual(readBack(topic), messages.map((m) => `${m.key}=${m.value}`));
  }
});

test("every_acks_level_stores_the_records", async () => {
  for (const acks of [0, 1, -1]) {
    const topic = await create(`js-acks${acks}`);
    await produce(topic, {}, (p) => p.send({ topic, acks, messages: [{ key: "a", value: "b" }] }));
    const deadline = Date.now() + 5000;
    let end;
    do {
      [end] = await admin.fetchTopicOffsets(topic);
    } while (end.high !== "1" && Date.now() < deadline);
    assert.equal(end.high, "1");
  }
});

test("idempotent_producer_gets_its_offsets_in_order", async () => {
  const topic = await create("js-idem");
  await produce(topic, { idempotent: true, maxInFlightRequests: 1 }, async (producer) => {
    for (let n = 0; n < 50; n++) {
      const [answer] = await producer.send({ topic, messages: [{ key: "k", value: `${n}` }] });
      assert.equal(answer.baseOffset, `${n}`);
    }
  });
});

test("topics_are_created_grown_and_deleted", async () => {
  const topic = await create("js-life", 2);
  assert.equal(await admin.createTopics({ topics: [{ topic }] }), false, "created twice");
  assert.ok((await admin.listTopics()).includes(topic));
  const shown = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(shown.topics[0].partitions.length, 2);
  assert.ok(shown.topics[0].partitions.every((p) => p.leader >= 0 && p.isr.length === 1));
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  assert.equal((await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 3);
  await admin.deleteTopics({ topics: [topic] });
  assert.ok(!(await admin.listTopics()).includes(topic));
  await assert.rejects(admin.createTopics({ topics: [{ topic: "not/a/name" }] }), /./);
});

test("offsets_are_looked_up_by_time", async () => {
  const topic = await create("js-times");
  const messages = Array.from({ length: 20 }, (_, n) => ({ value: "x", timestamp: `${1600000000000 + n * 1000}` }));
  await produce(topic, {}, (p) => p.send({ topic, messages }));
  const [ends] = await admin.fetchTopicOffsets(topic);
  assert.deepEqual([ends.low, ends.high], ["0", "20"]);
  const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, 1600000004500);
  assert.equal(found.offset, "5");
});

test("configs_are_described_and_altered", async () => {
  const topic = await create("js-config", 1, [{ name: "retention.ms", value: "3600000" }]);
  const describe = async () => {
    const shown = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ["retention.ms", "cleanup.policy"] }],
    });
    assert.equal(shown.resources[0].errorCode, 0);
    return Object.fromEntries(shown.resources[0].configEntries.map((e) => [e.configName, e.configValue]));
  };
  assert.deepEqual(await describe(), { "retention.ms": "3600000", "cleanup.policy": "delete" });
  await admin.alterConfigs({
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: "cleanup.policy", value: "compact" }] }],
  });
  assert.deepEqual(await describe(), { "retention.ms": "604800000", "cleanup.policy": "compact" });
});

test("deleted_records_are_gone", async () => {
  const topic = await create("js-delete");
  await produce(topic, {}, (p) => p.send({ topic, messages: [{ value: "a" }, { value: "b" }, { value: "c" }] }));
  await admin.fetchTopicOffsets(topic); // makes the client learn the leader
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "2" }] });
  const [ends] = await admin.fetchTopicOffsets(topic);
  assert.deepEqual([ends.low, ends.high], ["2", "3"]);
});

test("the_cluster_is_described", async () => {
  const shown = await admin.describeCluster();
  assert.ok(shown.clusterId);
  assert.equal(shown.brokers.length, 1);
});

test("producing_creates_the_topic", async () => {
  const topic = fresh("js-auto");
  const send = (p) => p.send({ topic, messages: [{ value: "x" }] });
  const [answer] = await produce(topic, { allowAutoTopicCreation: true, retry: { retries: 8 } }, send);
  assert.equal(answer.baseOffset, "0");
});

(async () => {
  const wanted = process.argv.slice(3);
  let failed = 0;
  await admin.connect();
  for (const [name, run] of tests) {
    if (wanted.length && !wanted.includes(name)) continue;
    const limit = new Promise((_, reject) => setTimeout(() => reject(new Error("no end after 60 s")), 60000).unref());
    try {
      await Promise.race([run(), limit]);
      console.log(`ok kafkajs ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL kafkajs ${name}: ${`${error.message}`.split(/\s+/).join(" ").slice(0, 400)}`);
    }
  }
  process.exit(failed ? 1 : 0);
})().catch((error) => {
  console.log(`FAIL kafkajs connect: ${error.message}`);
  process.exit(1);
});
