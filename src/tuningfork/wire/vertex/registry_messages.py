"""The messages of models, endpoints and operations, field by field.

Source: google/cloud/aiplatform/v1/{model,model_service,endpoint,endpoint_service,deployed_model_ref,operation}.proto.
Fields that this server passes over, or that only other kinds of models have, are not decoded further (`Kind.JSON`).
"""

from tuningfork.wire.google.errors import STATUS
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

DEPLOYED_MODEL_REF = Message(
    "DeployedModelRef",
    (
        Field(1, "endpoint", Kind.STRING),
        Field(2, "deployed_model_id", Kind.STRING),
        Field(3, "checkpoint_id", Kind.STRING),
    ),
)

MODEL_SOURCE_TYPE = Enum(
    "ModelSourceInfo.ModelSourceType",
    {
        "MODEL_SOURCE_TYPE_UNSPECIFIED": 0,
        "AUTOML": 1,
        "CUSTOM": 2,
        "BQML": 3,
        "MODEL_GARDEN": 4,
        "GENIE": 5,
    },
)

MODEL_SOURCE_INFO = Message(
    "ModelSourceInfo", (Field(1, "source_type", MODEL_SOURCE_TYPE), Field(2, "copy", Kind.BOOL))
)

CHECKPOINT = Message(
    "Checkpoint",
    (
        Field(1, "checkpoint_id", Kind.STRING),
        Field(2, "epoch", Kind.INT64),
        Field(3, "step", Kind.INT64),
    ),
)

MODEL = Message(
    "Model",
    (
        Field(1, "name", Kind.STRING),
        Field(28, "version_id", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(29, "version_aliases", Kind.STRING, repeated=True),
        Field(31, "version_create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(32, "version_update_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(2, "display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(30, "version_description", Kind.STRING),
        Field(53, "default_checkpoint_id", Kind.STRING),
        Field(13, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(14, "update_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(15, "deployed_models", DEPLOYED_MODEL_REF, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(16, "etag", Kind.STRING),
        Field(17, "labels", Kind.STRING, keyed=True),
        Field(38, "model_source_info", MODEL_SOURCE_INFO, rule=Rule.OUTPUT_ONLY),
        Field(57, "checkpoints", CHECKPOINT, repeated=True, rule=Rule.OUTPUT_ONLY),
        # Where weights are and what they run in, for other kinds of models. None of it can be changed here.
        Field(4, "predict_schemata", Kind.JSON),
        Field(5, "metadata_schema_uri", Kind.STRING),
        Field(6, "metadata", Kind.JSON),
        Field(7, "training_pipeline", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(9, "container_spec", Kind.JSON),
        Field(10, "supported_deployment_resources_types", Kind.JSON, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(11, "supported_input_storage_formats", Kind.STRING, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(12, "supported_output_storage_formats", Kind.STRING, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(20, "supported_export_formats", Kind.JSON, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(21, "data_stats", Kind.JSON),
        Field(23, "explanation_spec", Kind.JSON),
        Field(24, "encryption_spec", Kind.JSON),
        Field(26, "artifact_uri", Kind.STRING),
        Field(34, "original_model_info", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(44, "metadata_artifact", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(47, "pipeline_job", Kind.STRING),
        Field(50, "base_model_source", Kind.JSON),
        Field(51, "satisfies_pzs", Kind.BOOL, rule=Rule.OUTPUT_ONLY),
        Field(52, "satisfies_pzi", Kind.BOOL, rule=Rule.OUTPUT_ONLY),
    ),
)

MODEL_VERSION_CHECKPOINT = Message("ModelVersionCheckpoint", CHECKPOINT.fields)

LIST_MODELS_QUERY = Message(
    "ListModelsRequest",
    (
        Field(2, "filter", Kind.STRING, repeated=True),
        Field(3, "page_size", Kind.INT32),
        Field(4, "page_token", Kind.STRING),
        Field(5, "read_mask", Kind.FIELD_MASK),
        Field(6, "order_by", Kind.STRING),
    ),
)

LIST_MODELS_RESPONSE = Message(
    "ListModelsResponse",
    (Field(1, "models", MODEL, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)

LIST_VERSIONS_QUERY = Message(
    "ListModelVersionsRequest",
    (
        Field(2, "page_size", Kind.INT32),
        Field(3, "page_token", Kind.STRING),
        Field(4, "filter", Kind.STRING, repeated=True),
        Field(5, "read_mask", Kind.FIELD_MASK),
        Field(6, "order_by", Kind.STRING),
    ),
)

LIST_VERSIONS_RESPONSE = Message("ListModelVersionsResponse", LIST_MODELS_RESPONSE.fields)

LIST_CHECKPOINTS_QUERY = Message(
    "ListModelVersionCheckpointsRequest",
    (Field(2, "page_size", Kind.INT32), Field(3, "page_token", Kind.STRING)),
)

LIST_CHECKPOINTS_RESPONSE = Message(
    "ListModelVersionCheckpointsResponse",
    (
        Field(1, "checkpoints", MODEL_VERSION_CHECKPOINT, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
    ),
)

UPDATE_QUERY = Message("UpdateModelRequest", (Field(2, "update_mask", Kind.FIELD_MASK),))

MERGE_ALIASES_REQUEST = Message(
    "MergeVersionAliasesRequest",
    (Field(1, "name", Kind.STRING), Field(2, "version_aliases", Kind.STRING, repeated=True)),
)

DEPLOYED_MODEL = Message(
    "DeployedModel",
    (
        Field(1, "id", Kind.STRING),
        Field(2, "model", Kind.STRING),
        Field(18, "model_version_id", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(3, "display_name", Kind.STRING),
        Field(6, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(29, "checkpoint_id", Kind.STRING),
        # What machines it is to run on, and what is measured there: for other kinds of models.
        Field(7, "dedicated_resources", Kind.JSON),
        Field(8, "automatic_resources", Kind.JSON),
        Field(17, "shared_resources", Kind.STRING),
        Field(9, "explanation_spec", Kind.JSON),
        Field(19, "disable_explanations", Kind.BOOL),
        Field(11, "service_account", Kind.STRING),
        Field(15, "disable_container_logging", Kind.BOOL),
        Field(13, "enable_access_logging", Kind.BOOL),
        Field(14, "private_endpoints", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(23, "faster_deployment_config", Kind.JSON),
        Field(28, "system_labels", Kind.STRING, keyed=True),
        Field(30, "speculative_decoding_spec", Kind.JSON),
        *(
            Field(90 + number, name, Kind.JSON)
            for number, name in enumerate(
                ("enable_container_logging", "full_fine_tuned_resources", "gdc_connected_model", "rollout_options")
            )
        ),
        Field(94, "status", Kind.JSON, rule=Rule.OUTPUT_ONLY),
    ),
)

ENDPOINT = Message(
    "Endpoint",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(4, "deployed_models", DEPLOYED_MODEL, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(5, "traffic_split", Kind.INT32, keyed=True),
        Field(6, "etag", Kind.STRING),
        Field(7, "labels", Kind.STRING, keyed=True),
        Field(8, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(9, "update_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
    ),
)

LIST_ENDPOINTS_QUERY = Message(
    "ListEndpointsRequest",
    (
        Field(2, "filter", Kind.STRING, repeated=True),
        Field(3, "page_size", Kind.INT32),
        Field(4, "page_token", Kind.STRING),
        Field(5, "read_mask", Kind.FIELD_MASK),
        Field(6, "order_by", Kind.STRING),
        Field(8, "gdc_zone", Kind.STRING),
    ),
)

LIST_ENDPOINTS_RESPONSE = Message(
    "ListEndpointsResponse",
    (Field(1, "endpoints", ENDPOINT, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)

UNDEPLOY_REQUEST = Message(
    "UndeployModelRequest",
    (
        Field(1, "endpoint", Kind.STRING),
        Field(2, "deployed_model_id", Kind.STRING),
        Field(3, "traffic_split", Kind.INT32, keyed=True),
    ),
)

DEPLOY_REQUEST = Message(
    "DeployModelRequest",
    (
        Field(1, "endpoint", Kind.STRING),
        Field(2, "deployed_model", DEPLOYED_MODEL),
        Field(3, "traffic_split", Kind.INT32, keyed=True),
    ),
)

# operations, which are done when they are answered

GENERIC_METADATA = Message(
    "GenericOperationMetadata",
    (
        Field(2, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(3, "update_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
    ),
)


def _metadata(name: str) -> Message:
    return Message(name, (Field(1, "generic_metadata", GENERIC_METADATA),))


DELETE_METADATA = _metadata("DeleteOperationMetadata")
UNDEPLOY_METADATA = _metadata("UndeployModelOperationMetadata")
DEPLOY_METADATA = _metadata("DeployModelOperationMetadata")

UNDEPLOY_RESPONSE = Message("UndeployModelResponse", ())
DEPLOY_RESPONSE = Message("DeployModelResponse", (Field(1, "deployed_model", DEPLOYED_MODEL),))

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

LIST_OPERATIONS_RESPONSE = Message(
    "google.longrunning.ListOperationsResponse",
    (Field(1, "operations", OPERATION, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)

# publishers

PUBLISHER_MODEL = Message(
    "PublisherModel",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "version_id", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(29, "launch_stage", Enum("PublisherModel.LaunchStage", {"LAUNCH_STAGE_UNSPECIFIED": 0, "GA": 4})),
        Field(30, "publisher_model_template", Kind.STRING),
    ),
)

LIST_PUBLISHER_MODELS_QUERY = Message(
    "ListPublisherModelsRequest",
    (
        Field(1, "parent", Kind.STRING),
        Field(2, "filter", Kind.STRING, repeated=True),
        Field(3, "page_size", Kind.INT32),
        Field(4, "page_token", Kind.STRING),
        Field(5, "view", Kind.STRING),
        Field(6, "order_by", Kind.STRING),
        Field(7, "language_code", Kind.STRING),
    ),
)

GET_PUBLISHER_MODEL_QUERY = Message(
    "GetPublisherModelRequest",
    (
        Field(2, "language_code", Kind.STRING),
        Field(3, "view", Kind.STRING),
        Field(5, "is_hugging_face_model", Kind.BOOL),
        Field(7, "include_equivalent_model_garden_model_deployment_configs", Kind.BOOL),
    ),
)

LIST_PUBLISHER_MODELS_RESPONSE = Message(
    "ListPublisherModelsResponse",
    (Field(1, "publisher_models", PUBLISHER_MODEL, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)
