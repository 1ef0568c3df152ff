"""The messages of tuned models and operations, field by field.

Source: google/ai/generativelanguage/v1beta/{model_service,tuned_model}.proto and google/longrunning/operations.proto.
"""

from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google.errors import STATUS
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

OUTPUT_ONLY = Rule.OUTPUT_ONLY

# tuned_model.proto

TUNED_MODEL_STATE = Enum(
    f"{PACKAGE}.TunedModel.State", {"STATE_UNSPECIFIED": 0, "CREATING": 1, "ACTIVE": 2, "FAILED": 3}
)

TUNED_MODEL_SOURCE = Message(
    f"{PACKAGE}.TunedModelSource",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "base_model", Kind.STRING, rule=OUTPUT_ONLY),
    ),
)

TUNING_EXAMPLE = Message(
    f"{PACKAGE}.TuningExample",
    (
        Field(1, "text_input", Kind.STRING, oneof="model_input"),
        Field(3, "output", Kind.STRING),
    ),
)

TUNING_EXAMPLES = Message(f"{PACKAGE}.TuningExamples", (Field(1, "examples", TUNING_EXAMPLE, repeated=True),))

DATASET = Message(f"{PACKAGE}.Dataset", (Field(1, "examples", TUNING_EXAMPLES, oneof="dataset"),))

HYPERPARAMETERS = Message(
    f"{PACKAGE}.Hyperparameters",
    (
        Field(16, "learning_rate", Kind.FLOAT, oneof="learning_rate_option"),
        Field(17, "learning_rate_multiplier", Kind.FLOAT, oneof="learning_rate_option"),
        Field(14, "epoch_count", Kind.INT32, presence=True),
        Field(15, "batch_size", Kind.INT32, presence=True),
    ),
)

TUNING_SNAPSHOT = Message(
    f"{PACKAGE}.TuningSnapshot",
    (
        Field(1, "step", Kind.INT32, rule=OUTPUT_ONLY),
        Field(2, "epoch", Kind.INT32, rule=OUTPUT_ONLY),
        Field(3, "mean_loss", Kind.FLOAT, rule=OUTPUT_ONLY),
        Field(4, "compute_time", Kind.TIMESTAMP, rule=OUTPUT_ONLY),
    ),
)

TUNING_TASK = Message(
    f"{PACKAGE}.TuningTask",
    (
        Field(1, "start_time", Kind.TIMESTAMP, rule=OUTPUT_ONLY),
        Field(2, "complete_time", Kind.TIMESTAMP, rule=OUTPUT_ONLY),
        Field(3, "snapshots", TUNING_SNAPSHOT, repeated=True, rule=OUTPUT_ONLY),
        Field(4, "training_data", DATASET, rule=Rule.INPUT_ONLY),
        Field(5, "hyperparameters", HYPERPARAMETERS),
    ),
)

TUNED_MODEL = Message(
    f"{PACKAGE}.TunedModel",
    (
        Field(3, "tuned_model_source", TUNED_MODEL_SOURCE, oneof="source_model"),
        Field(4, "base_model", Kind.STRING, oneof="source_model"),
        Field(1, "name", Kind.STRING, rule=OUTPUT_ONLY),
        Field(5, "display_name", Kind.STRING),
        Field(6, "description", Kind.STRING),
        Field(11, "temperature", Kind.FLOAT, presence=True),
        Field(12, "top_p", Kind.FLOAT, presence=True),
        Field(13, "top_k", Kind.INT32, presence=True),
        Field(7, "state", TUNED_MODEL_STATE, rule=OUTPUT_ONLY),
        Field(8, "create_time", Kind.TIMESTAMP, rule=OUTPUT_ONLY),
        Field(9, "update_time", Kind.TIMESTAMP, rule=OUTPUT_ONLY),
        Field(10, "tuning_task", TUNING_TASK),
        Field(14, "reader_project_numbers", Kind.INT64, repeated=True),
    ),
)

# model_service.proto

CREATE_TUNED_MODEL_METADATA = Message(
    f"{PACKAGE}.CreateTunedModelMetadata",
    (
        Field(5, "tuned_model", Kind.STRING),
        Field(1, "total_steps", Kind.INT32),
        Field(2, "completed_steps", Kind.INT32),
        Field(3, "completed_percent", Kind.FLOAT),
        Field(4, "snapshots", TUNING_SNAPSHOT, repeated=True),
    ),
)

CREATE_TUNED_MODEL_QUERY = Message(
    f"{PACKAGE}.CreateTunedModelRequest",
    # Field 2, tuned_model, is in the body.
    (Field(1, "tuned_model_id", Kind.STRING, presence=True),),
)

LIST_TUNED_MODELS_QUERY = Message(
    f"{PACKAGE}.ListTunedModelsRequest",
    (
        Field(1, "page_size", Kind.INT32),
        Field(2, "page_token", Kind.STRING),
        Field(3, "filter", Kind.STRING),
    ),
)

LIST_TUNED_MODELS_RESPONSE = Message(
    f"{PACKAGE}.ListTunedModelsResponse",
    (
        Field(1, "tuned_models", TUNED_MODEL, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
    ),
)

UPDATE_TUNED_MODEL_QUERY = Message(
    f"{PACKAGE}.UpdateTunedModelRequest",
    # Field 1, tuned_model, is the body.
    (Field(2, "update_mask", Kind.FIELD_MASK),),
)

# google/longrunning/operations.proto

OPERATION = Message(
    "google.longrunning.Operation",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "metadata", Kind.ANY),
        Field(3, "done", Kind.BOOL),
        Field(4, "error", STATUS, oneof="result"),
        Field(5, "response", Kind.ANY, oneof="result"),
    ),
)

LIST_OPERATIONS_QUERY = Message(
    "google.longrunning.ListOperationsRequest",
    (
        Field(1, "filter", Kind.STRING),
        Field(2, "page_size", Kind.INT32),
        Field(3, "page_token", Kind.STRING),
        Field(5, "return_partial_success", Kind.BOOL),
    ),
)

LIST_OPERATIONS_RESPONSE = Message(
    "google.longrunning.ListOperationsResponse",
    (
        Field(1, "operations", OPERATION, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
        Field(3, "unreachable", Kind.STRING, repeated=True),
    ),
)

CANCEL_OPERATION_REQUEST = Message("google.longrunning.CancelOperationRequest", (Field(1, "name", Kind.STRING),))
