"""The messages of tuning jobs, field by field.

Source: the discovery documents of aiplatform v1 and v1beta1. Specs that are refused by their names, and what is stored
and shown as it came, are not decoded further (`Kind.JSON`).
"""

from tuningfork.wire.google.content_messages import CONTENT
from tuningfork.wire.google.errors import STATUS
from tuningfork.wire.google.packages import Package
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.vertex.service import PACKAGE

_OUT = Rule.OUTPUT_ONLY
AIPLATFORM = Package(PACKAGE)
"""The package of the tables of Vertex AI."""

ADAPTER_SIZE = Enum(
    f"{PACKAGE}.AdapterSize",
    {
        "ADAPTER_SIZE_UNSPECIFIED": 0,
        "ADAPTER_SIZE_ONE": 1,
        "ADAPTER_SIZE_FOUR": 2,
        "ADAPTER_SIZE_EIGHT": 3,
        "ADAPTER_SIZE_SIXTEEN": 4,
        "ADAPTER_SIZE_THIRTY_TWO": 5,
        "ADAPTER_SIZE_TWO": 6,
    },
)
"""The numbers are not the sizes."""
RANKS = {
    "ADAPTER_SIZE_ONE": 1,
    "ADAPTER_SIZE_TWO": 2,
    "ADAPTER_SIZE_FOUR": 4,
    "ADAPTER_SIZE_EIGHT": 8,
    "ADAPTER_SIZE_SIXTEEN": 16,
    "ADAPTER_SIZE_THIRTY_TWO": 32,
}
"""The rank of an adapter of each size."""

JOB_STATE = Enum(
    f"{PACKAGE}.JobState",
    {
        "JOB_STATE_UNSPECIFIED": 0,
        "JOB_STATE_QUEUED": 1,
        "JOB_STATE_PENDING": 2,
        "JOB_STATE_RUNNING": 3,
        "JOB_STATE_SUCCEEDED": 4,
        "JOB_STATE_FAILED": 5,
        "JOB_STATE_CANCELLING": 6,
        "JOB_STATE_CANCELLED": 7,
        "JOB_STATE_PAUSED": 8,
        "JOB_STATE_EXPIRED": 9,
        "JOB_STATE_UPDATING": 10,
        "JOB_STATE_PARTIALLY_SUCCEEDED": 11,
    },
)
TUNING_JOB_STATE = Enum(
    f"{PACKAGE}.TuningJob.TuningJobState",
    {
        "TUNING_JOB_STATE_UNSPECIFIED": 0,
        "TUNING_JOB_STATE_WAITING_FOR_QUOTA": 1,
        "TUNING_JOB_STATE_PROCESSING_DATASET": 2,
        "TUNING_JOB_STATE_WAITING_FOR_CAPACITY": 3,
        "TUNING_JOB_STATE_TUNING": 4,
        "TUNING_JOB_STATE_POST_PROCESSING": 5,
    },
)
TUNING_MODE = Enum(
    f"{PACKAGE}.SupervisedTuningSpec.TuningMode",
    {"TUNING_MODE_UNSPECIFIED": 0, "TUNING_MODE_FULL": 1, "TUNING_MODE_PEFT_ADAPTER": 2},
)

HYPER_PARAMETERS = Message(
    f"{PACKAGE}.SupervisedHyperParameters",
    (
        Field(1, "epoch_count", Kind.INT64),
        Field(2, "learning_rate_multiplier", Kind.DOUBLE),
        Field(3, "adapter_size", ADAPTER_SIZE),
        Field(4, "batch_size", Kind.INT64),
        Field(5, "learning_rate", Kind.DOUBLE),
    ),
)
SUPERVISED_TUNING_SPEC = Message(
    f"{PACKAGE}.SupervisedTuningSpec",
    (
        Field(1, "training_dataset_uri", Kind.STRING),
        Field(2, "validation_dataset_uri", Kind.STRING),
        Field(3, "hyper_parameters", HYPER_PARAMETERS),
        Field(5, "evaluation_config", Kind.JSON),
        Field(6, "export_last_checkpoint_only", Kind.BOOL),
        Field(7, "tuning_mode", TUNING_MODE),
    ),
)
PRE_TUNED_MODEL = Message(
    f"{PACKAGE}.PreTunedModel",
    (
        Field(1, "tuned_model_name", Kind.STRING),
        Field(2, "checkpoint_id", Kind.STRING),
        Field(3, "base_model", Kind.STRING, rule=_OUT),
    ),
)
TUNED_MODEL_CHECKPOINT = Message(
    f"{PACKAGE}.TunedModelCheckpoint",
    (
        Field(1, "checkpoint_id", Kind.STRING),
        Field(2, "epoch", Kind.INT64),
        Field(3, "step", Kind.INT64),
        Field(4, "endpoint", Kind.STRING),
    ),
)
TUNED_MODEL = Message(
    f"{PACKAGE}.TunedModel",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "endpoint", Kind.STRING),
        Field(3, "checkpoints", TUNED_MODEL_CHECKPOINT, repeated=True),
    ),
)
DATASET_BUCKET = Message(
    f"{PACKAGE}.SupervisedTuningDatasetDistribution.DatasetBucket",
    (Field(1, "count", Kind.DOUBLE), Field(2, "left", Kind.DOUBLE), Field(3, "right", Kind.DOUBLE)),
)
DISTRIBUTION = Message(
    f"{PACKAGE}.SupervisedTuningDatasetDistribution",
    (
        Field(1, "sum", Kind.INT64),
        Field(9, "billable_sum", Kind.INT64),
        Field(2, "min", Kind.DOUBLE),
        Field(3, "max", Kind.DOUBLE),
        Field(4, "mean", Kind.DOUBLE),
        Field(5, "median", Kind.DOUBLE),
        Field(6, "p5", Kind.DOUBLE),
        Field(7, "p95", Kind.DOUBLE),
        Field(8, "buckets", DATASET_BUCKET, repeated=True),
    ),
)
SUPERVISED_DATA_STATS = Message(
    f"{PACKAGE}.SupervisedTuningDataStats",
    (
        Field(1, "tuning_dataset_example_count", Kind.INT64),
        Field(2, "total_tuning_character_count", Kind.INT64),
        Field(3, "total_billable_character_count", Kind.INT64),
        Field(9, "total_billable_token_count", Kind.INT64),
        Field(4, "tuning_step_count", Kind.INT64),
        Field(5, "user_input_token_distribution", DISTRIBUTION),
        Field(6, "user_output_token_distribution", DISTRIBUTION),
        Field(7, "user_message_per_example_distribution", DISTRIBUTION),
        Field(8, "user_dataset_examples", AIPLATFORM.message(CONTENT), repeated=True),
        Field(10, "total_truncated_example_count", Kind.INT64),
        Field(11, "truncated_example_indices", Kind.INT64, repeated=True),
        Field(12, "dropped_example_reasons", Kind.STRING, repeated=True),
    ),
)
TUNING_DATA_STATS = Message(
    f"{PACKAGE}.TuningDataStats", (Field(1, "supervised_tuning_data_stats", SUPERVISED_DATA_STATS),)
)
TUNING_JOB_METADATA = Message(
    f"{PACKAGE}.TuningJobMetadata",
    (Field(1, "completed_epoch_count", Kind.INT64), Field(2, "completed_step_count", Kind.INT64)),
)
ENCRYPTION_SPEC = Message(f"{PACKAGE}.EncryptionSpec", (Field(1, "kms_key_name", Kind.STRING),))

REFUSED_SPECS = (
    "distillation_spec",
    "reinforcement_tuning_spec",
    "partner_model_tuning_spec",
    "veo_tuning_spec",
    "veo_lora_tuning_spec",
    "full_fine_tuning_spec",
)
"""Kinds of tuning that are refused by their names (vertex-additions, section 8)."""

TUNING_JOB = Message(
    f"{PACKAGE}.TuningJob",
    (
        Field(4, "base_model", Kind.STRING, oneof="source_model"),
        Field(31, "pre_tuned_model", PRE_TUNED_MODEL, oneof="source_model"),
        Field(5, "supervised_tuning_spec", SUPERVISED_TUNING_SPEC, oneof="tuning_spec"),
        Field(24, "preference_optimization_spec", Kind.JSON, oneof="tuning_spec"),
        *(Field(90 + number, name, Kind.JSON, oneof="tuning_spec") for number, name in enumerate(REFUSED_SPECS)),
        Field(1, "name", Kind.STRING, rule=_OUT),
        Field(2, "tuned_model_display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(6, "state", JOB_STATE, rule=_OUT),
        Field(7, "create_time", Kind.TIMESTAMP, rule=_OUT),
        Field(8, "start_time", Kind.TIMESTAMP, rule=_OUT),
        Field(9, "end_time", Kind.TIMESTAMP, rule=_OUT),
        Field(10, "update_time", Kind.TIMESTAMP, rule=_OUT),
        Field(11, "error", STATUS, rule=_OUT),
        Field(12, "labels", Kind.STRING, keyed=True),
        Field(13, "experiment", Kind.STRING, rule=_OUT),
        Field(14, "tuned_model", TUNED_MODEL, rule=_OUT),
        Field(15, "tuning_data_stats", TUNING_DATA_STATS, rule=_OUT),
        Field(16, "encryption_spec", ENCRYPTION_SPEC),
        Field(18, "pipeline_job", Kind.STRING, rule=_OUT),
        Field(22, "service_account", Kind.STRING),
        Field(25, "output_uri", Kind.STRING),
        Field(26, "custom_base_model", Kind.STRING),
        Field(28, "satisfies_pzs", Kind.BOOL, rule=_OUT),
        Field(29, "satisfies_pzi", Kind.BOOL, rule=_OUT),
        Field(32, "evaluate_dataset_runs", Kind.JSON, repeated=True, rule=_OUT),
        Field(33, "gcs_metrics_uri", Kind.STRING, rule=_OUT),
        Field(34, "tuning_job_state", TUNING_JOB_STATE, rule=_OUT),
        Field(35, "tuning_job_metadata", TUNING_JOB_METADATA, rule=_OUT),
    ),
)
LIST_TUNING_JOBS_QUERY = Message(
    f"{PACKAGE}.ListTuningJobsRequest",
    (Field(2, "filter", Kind.STRING), Field(3, "page_size", Kind.INT32), Field(4, "page_token", Kind.STRING)),
)
LIST_TUNING_JOBS_RESPONSE = Message(
    f"{PACKAGE}.ListTuningJobsResponse",
    (Field(1, "tuning_jobs", TUNING_JOB, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)
CANCEL_TUNING_JOB_REQUEST = Message(f"{PACKAGE}.CancelTuningJobRequest", (Field(1, "name", Kind.STRING),))
