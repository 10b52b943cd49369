//! Batches to be appended, and what became of them.

use super::schema::frozen;

frozen! {
    /// Appends batches; several of one partition are appended in their order. The rules are those of Kafka's Produce.
    pub struct ProduceRequestV1 {
        /// −1 and 1, as Kafka's: answered when the batches are committed. 0: answered when they are appended, before that.
        pub acks: i16,
        /// Milliseconds that the batches may take to be committed, as Kafka's `timeout.ms`. What took longer is answered
        /// REQUEST_TIMED_OUT and stays appended.
        pub timeout_ms: i32,
        pub batches: Vec<ProduceBatchV1>,
    }

    /// One record batch (magic 2), of the body.
    pub struct ProduceBatchV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        pub bytes: u32,
    }

    /// One row for each batch, in the request's order.
    pub struct ProduceResponseV1 {
        pub batches: Vec<ProducedV1>,
    }

    pub struct ProducedV1 {
        /// Kafka's code.
        pub error: i16,
        /// Offset of the first record; −1 with an error.
        pub base_offset: i64,
        /// Milliseconds since the Unix epoch where the topic stamps the time of append, else −1.
        pub append_time: i64,
        pub log_start: i64,
        pub message: Option<String>,
    }
}
