from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControlSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_SOURCE_UNSPECIFIED: _ClassVar[ControlSource]
    CONTROL_SOURCE_STORED: _ClassVar[ControlSource]
    CONTROL_SOURCE_REQUEST: _ClassVar[ControlSource]
CONTROL_SOURCE_UNSPECIFIED: ControlSource
CONTROL_SOURCE_STORED: ControlSource
CONTROL_SOURCE_REQUEST: ControlSource

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DTYPE_UNSPECIFIED: _ClassVar[Tensor.DType]
        FLOAT32: _ClassVar[Tensor.DType]
        FLOAT64: _ClassVar[Tensor.DType]
        INT32: _ClassVar[Tensor.DType]
        INT64: _ClassVar[Tensor.DType]
        BOOL: _ClassVar[Tensor.DType]
    DTYPE_UNSPECIFIED: Tensor.DType
    FLOAT32: Tensor.DType
    FLOAT64: Tensor.DType
    INT32: Tensor.DType
    INT64: Tensor.DType
    BOOL: Tensor.DType
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: Tensor.DType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[Tensor.DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "alias")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    alias: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., alias: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model", "include_genes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_GENES_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    include_genes: bool
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., include_genes: bool = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelInfo
    def __init__(self, model: _Optional[_Union[ModelInfo, _Mapping]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "aliases", "kind", "dataset", "split", "fingerprint", "scale", "gene_count", "genes_sha256", "genes", "contexts", "perturbations", "inputs", "validation_metrics", "interval_levels", "dataset_hash", "stored_cells")
    class ValidationMetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class StoredCellsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    GENE_COUNT_FIELD_NUMBER: _ClassVar[int]
    GENES_SHA256_FIELD_NUMBER: _ClassVar[int]
    GENES_FIELD_NUMBER: _ClassVar[int]
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    PERTURBATIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_METRICS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LEVELS_FIELD_NUMBER: _ClassVar[int]
    DATASET_HASH_FIELD_NUMBER: _ClassVar[int]
    STORED_CELLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    kind: str
    dataset: str
    split: str
    fingerprint: str
    scale: str
    gene_count: int
    genes_sha256: str
    genes: _containers.RepeatedScalarFieldContainer[str]
    contexts: _containers.RepeatedScalarFieldContainer[str]
    perturbations: _containers.RepeatedScalarFieldContainer[str]
    inputs: _containers.RepeatedScalarFieldContainer[str]
    validation_metrics: _containers.ScalarMap[str, float]
    interval_levels: _containers.RepeatedScalarFieldContainer[float]
    dataset_hash: str
    stored_cells: _containers.ScalarMap[str, int]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., kind: _Optional[str] = ..., dataset: _Optional[str] = ..., split: _Optional[str] = ..., fingerprint: _Optional[str] = ..., scale: _Optional[str] = ..., gene_count: _Optional[int] = ..., genes_sha256: _Optional[str] = ..., genes: _Optional[_Iterable[str]] = ..., contexts: _Optional[_Iterable[str]] = ..., perturbations: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[str]] = ..., validation_metrics: _Optional[_Mapping[str, float]] = ..., interval_levels: _Optional[_Iterable[float]] = ..., dataset_hash: _Optional[str] = ..., stored_cells: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("name", "dose", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOSE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    dose: float
    kind: str
    def __init__(self, name: _Optional[str] = ..., dose: _Optional[float] = ..., kind: _Optional[str] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("targets", "context", "covariates")
    class CovariatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COVARIATES_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    context: str
    covariates: _containers.ScalarMap[str, str]
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., context: _Optional[str] = ..., covariates: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CsrMatrix(_message.Message):
    __slots__ = ("rows", "columns", "indptr", "indices", "data")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    INDPTR_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: int
    indptr: Tensor
    indices: Tensor
    data: Tensor
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[int] = ..., indptr: _Optional[_Union[Tensor, _Mapping]] = ..., indices: _Optional[_Union[Tensor, _Mapping]] = ..., data: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class ControlCells(_message.Message):
    __slots__ = ("context", "expression", "csr")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    CSR_FIELD_NUMBER: _ClassVar[int]
    context: str
    expression: Tensor
    csr: CsrMatrix
    def __init__(self, context: _Optional[str] = ..., expression: _Optional[_Union[Tensor, _Mapping]] = ..., csr: _Optional[_Union[CsrMatrix, _Mapping]] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("variance", "interval_level", "expression", "top_genes", "cells")
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LEVEL_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    TOP_GENES_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    variance: bool
    interval_level: float
    expression: bool
    top_genes: int
    cells: int
    def __init__(self, variance: bool = ..., interval_level: _Optional[float] = ..., expression: bool = ..., top_genes: _Optional[int] = ..., cells: _Optional[int] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("model", "conditions", "controls", "genes", "genes_sha256", "wanted", "seed", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    GENES_FIELD_NUMBER: _ClassVar[int]
    GENES_SHA256_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelRef
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    controls: _containers.RepeatedCompositeFieldContainer[ControlCells]
    genes: _containers.RepeatedScalarFieldContainer[str]
    genes_sha256: str
    wanted: Wanted
    seed: int
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelRef, _Mapping]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., controls: _Optional[_Iterable[_Union[ControlCells, _Mapping]]] = ..., genes: _Optional[_Iterable[str]] = ..., genes_sha256: _Optional[str] = ..., wanted: _Optional[_Union[Wanted, _Mapping]] = ..., seed: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class SeenInTraining(_message.Message):
    __slots__ = ("perturbation", "context", "pair")
    PERTURBATION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    perturbation: bool
    context: bool
    pair: bool
    def __init__(self, perturbation: bool = ..., context: bool = ..., pair: bool = ...) -> None: ...

class TopGene(_message.Message):
    __slots__ = ("gene", "delta")
    GENE_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    gene: str
    delta: float
    def __init__(self, gene: _Optional[str] = ..., delta: _Optional[float] = ...) -> None: ...

class ConditionPrediction(_message.Message):
    __slots__ = ("condition", "seen_in_training", "notes", "top_genes", "controls", "ood_score")
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    SEEN_IN_TRAINING_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    TOP_GENES_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    OOD_SCORE_FIELD_NUMBER: _ClassVar[int]
    condition: Condition
    seen_in_training: SeenInTraining
    notes: _containers.RepeatedScalarFieldContainer[str]
    top_genes: _containers.RepeatedCompositeFieldContainer[TopGene]
    controls: ControlSource
    ood_score: float
    def __init__(self, condition: _Optional[_Union[Condition, _Mapping]] = ..., seen_in_training: _Optional[_Union[SeenInTraining, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., top_genes: _Optional[_Iterable[_Union[TopGene, _Mapping]]] = ..., controls: _Optional[_Union[ControlSource, str]] = ..., ood_score: _Optional[float] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("model_name", "model_version", "fingerprint", "genes_sha256", "conditions", "delta", "variance", "lower", "upper", "expression", "request_id", "timings_ms", "interval_level", "cells")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    GENES_SHA256_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: str
    fingerprint: str
    genes_sha256: str
    conditions: _containers.RepeatedCompositeFieldContainer[ConditionPrediction]
    delta: Tensor
    variance: Tensor
    lower: Tensor
    upper: Tensor
    expression: Tensor
    request_id: str
    timings_ms: _containers.ScalarMap[str, float]
    interval_level: float
    cells: Tensor
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., fingerprint: _Optional[str] = ..., genes_sha256: _Optional[str] = ..., conditions: _Optional[_Iterable[_Union[ConditionPrediction, _Mapping]]] = ..., delta: _Optional[_Union[Tensor, _Mapping]] = ..., variance: _Optional[_Union[Tensor, _Mapping]] = ..., lower: _Optional[_Union[Tensor, _Mapping]] = ..., upper: _Optional[_Union[Tensor, _Mapping]] = ..., expression: _Optional[_Union[Tensor, _Mapping]] = ..., request_id: _Optional[str] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., interval_level: _Optional[float] = ..., cells: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...
