"""The messages of experiments and tensorboards, through which programs read a job's metrics, field by field.

Source: google/cloud/aiplatform/v1/{context,metadata_service,tensorboard,tensorboard_data,tensorboard_experiment,
tensorboard_run,tensorboard_service,tensorboard_time_series}.proto.
"""

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message

CONTEXT = Message(
    "Context",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(8, "etag", Kind.STRING),
        Field(9, "labels", Kind.STRING, keyed=True),
        Field(10, "create_time", Kind.TIMESTAMP),
        Field(11, "update_time", Kind.TIMESTAMP),
        Field(12, "parent_contexts", Kind.STRING, repeated=True),
        Field(13, "schema_title", Kind.STRING),
        Field(14, "schema_version", Kind.STRING),
        Field(15, "metadata", Kind.JSON),
        Field(16, "description", Kind.STRING),
    ),
)

LIST_CONTEXTS_QUERY = Message(
    "ListContextsRequest",
    (
        Field(2, "page_size", Kind.INT32),
        Field(3, "page_token", Kind.STRING),
        Field(4, "filter", Kind.STRING, repeated=True),
        Field(5, "order_by", Kind.STRING),
    ),
)

LIST_CONTEXTS_RESPONSE = Message(
    "ListContextsResponse",
    (Field(1, "contexts", CONTEXT, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)

TENSORBOARD = Message(
    "Tensorboard",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(5, "run_count", Kind.INT32),
        Field(6, "create_time", Kind.TIMESTAMP),
        Field(7, "update_time", Kind.TIMESTAMP),
        Field(8, "labels", Kind.STRING, keyed=True),
    ),
)

TENSORBOARD_EXPERIMENT = Message(
    "TensorboardExperiment",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(4, "create_time", Kind.TIMESTAMP),
        Field(5, "update_time", Kind.TIMESTAMP),
        Field(8, "source", Kind.STRING),
    ),
)

TENSORBOARD_RUN = Message(
    "TensorboardRun",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(6, "create_time", Kind.TIMESTAMP),
        Field(7, "update_time", Kind.TIMESTAMP),
    ),
)

LIST_QUERY = Message(
    "ListTensorboardTimeSeriesRequest",
    (
        Field(2, "filter", Kind.STRING, repeated=True),
        Field(3, "page_size", Kind.INT32),
        Field(4, "page_token", Kind.STRING),
        Field(5, "order_by", Kind.STRING),
        Field(6, "read_mask", Kind.FIELD_MASK),
    ),
)
"""The parameters of the lists of runs and of time series. Each list is short, and has one page."""

LIST_RUNS_RESPONSE = Message(
    "ListTensorboardRunsResponse",
    (Field(1, "tensorboard_runs", TENSORBOARD_RUN, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)

VALUE_TYPE = Enum(
    "TensorboardTimeSeries.ValueType",
    {"VALUE_TYPE_UNSPECIFIED": 0, "SCALAR": 1, "TENSOR": 2, "BLOB_SEQUENCE": 3},
)

TIME_SERIES_METADATA = Message(
    "TensorboardTimeSeries.Metadata",
    (Field(1, "max_step", Kind.INT64), Field(2, "max_wall_time", Kind.TIMESTAMP)),
)

TENSORBOARD_TIME_SERIES = Message(
    "TensorboardTimeSeries",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(4, "value_type", VALUE_TYPE),
        Field(5, "create_time", Kind.TIMESTAMP),
        Field(6, "update_time", Kind.TIMESTAMP),
        Field(8, "plugin_name", Kind.STRING),
        Field(10, "metadata", TIME_SERIES_METADATA),
    ),
)

LIST_TIME_SERIES_RESPONSE = Message(
    "ListTensorboardTimeSeriesResponse",
    (
        Field(1, "tensorboard_time_series", TENSORBOARD_TIME_SERIES, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
    ),
)

SCALAR = Message("Scalar", (Field(1, "value", Kind.DOUBLE),))

TIME_SERIES_DATA_POINT = Message(
    "TimeSeriesDataPoint",
    (
        Field(3, "scalar", SCALAR, oneof="value"),
        Field(1, "wall_time", Kind.TIMESTAMP),
        Field(2, "step", Kind.INT64),
    ),
)

TIME_SERIES_DATA = Message(
    "TimeSeriesData",
    (
        Field(1, "tensorboard_time_series_id", Kind.STRING),
        Field(2, "value_type", VALUE_TYPE),
        Field(3, "values", TIME_SERIES_DATA_POINT, repeated=True),
    ),
)

BATCH_READ_QUERY = Message(
    "BatchReadTensorboardTimeSeriesDataRequest", (Field(2, "time_series", Kind.STRING, repeated=True),)
)

BATCH_READ_RESPONSE = Message(
    "BatchReadTensorboardTimeSeriesDataResponse", (Field(1, "time_series_data", TIME_SERIES_DATA, repeated=True),)
)

READ_QUERY = Message(
    "ReadTensorboardTimeSeriesDataRequest",
    (Field(2, "max_data_points", Kind.INT32), Field(3, "filter", Kind.STRING, repeated=True)),
)

READ_RESPONSE = Message("ReadTensorboardTimeSeriesDataResponse", (Field(1, "time_series_data", TIME_SERIES_DATA),))
