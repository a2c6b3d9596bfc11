"""What a `ModelService` runs, and how."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from plimsoll.spec.artifacts import Digest, Uri, guess_uri_format, scheme_of
from plimsoll.spec.base import Part
from plimsoll.spec.edge import SecretRef
from plimsoll.spec.formats import Format, check_path, guess_format, is_import
from plimsoll.spec.pod_values import EnvName, Image
from plimsoll.spec.values import PositiveDuration, RequirementText, problem_at
from plimsoll.spec.web_values import SecretName


class ModelSecretRef(Part):
    """A whole secret: which keys count depends on the store that it is for."""

    name: SecretName = Field(description="The secret's name, in the service's namespace.")


class ModelSource(Part):
    """What is served: exactly one of `path` and `uri`."""

    format: Format | None = Field(
        default=None,
        description="How the model is run: Python, ONNX or SKLearn. Default: guessed from the path: .py, a folder with "
        "model.py or package.module:Class is Python, .onnx is ONNX, .skops, .pkl, .pickle and .joblib are SKLearn; of "
        "a uri only from such a suffix.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="A file or folder, relative to this file, or package.module:Class for a class to import. A cluster "
        "needs it packed (plimsoll pack), or within runtime.image: a class, or an absolute path. Default: none; uri "
        "says where the model is.",
    )
    uri: Uri | None = Field(
        default=None,
        validate_default=True,
        description="An artifact: oci://HOST/NAME:TAG, s3://BUCKET/KEY, gs://BUCKET/KEY, hf://OWNER/NAME@REVISION, "
        "https://HOST/PATH, http://HOST/PATH, pvc://CLAIM/PATH or configmap://NAME. Default: none; path says where the "
        "model is.",
    )
    digest: Digest | None = Field(
        default=None,
        validate_default=True,
        description="What the artifact at uri must be, sha256: and 64 hex digits; plimsoll pack writes it. Required "
        "for http://. Default: not checked, and a new artifact at the same uri is no new revision.",
    )
    secret_ref: ModelSecretRef | None = Field(
        default=None,
        description="The secret with the credentials for uri, which only the step that fetches the model gets. "
        "Default: none; workload identity where the cluster has it.",
    )
    class_name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The class in a Python file. Default: the only class that has a predict method.",
    )

    @field_validator("path")
    @classmethod
    def _path_tells_the_format(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None:
            return path
        check_path(path)
        if "format" in info.data and info.data["format"] is None:
            guess_format(path)
        return path

    @field_validator("uri")
    @classmethod
    def _one_of_path_and_uri(cls, uri: str | None, info: ValidationInfo) -> str | None:
        if "path" not in info.data:
            return uri  # it is wrong itself, and says so
        path = info.data["path"]
        if uri is None and path is None:
            message = (
                "missing; expected a file or folder relative to this file, or an artifact: uri: oci://HOST/NAME:TAG"
            )
            problem_at(("..", "path"), message)
        if uri is not None and path is not None:
            raise ValueError("stands beside path, and a model is in one place; remove one of them")
        if uri is not None and "format" in info.data and info.data["format"] is None:
            guess_uri_format(uri)
        return uri

    @field_validator("digest")
    @classmethod
    def _digest_is_of_an_artifact(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if "uri" not in info.data:
            return digest
        uri = info.data["uri"]
        if uri is None and digest is not None:
            raise ValueError("belongs to uri; a local file is taken as it is, remove it")
        if uri is not None and digest is None and scheme_of(uri) == "http":
            raise ValueError("missing; http lets anybody on the way change the model: expected sha256:…, or https")
        return digest

    @field_validator("secret_ref")
    @classmethod
    def _secret_is_for_a_store(cls, ref: ModelSecretRef | None, info: ValidationInfo) -> ModelSecretRef | None:
        uri = info.data.get("uri", "")
        if ref is not None and uri is None:
            raise ValueError("belongs to uri; a local file needs no credentials, remove it")
        if ref is not None and scheme_of(uri) in {"pvc", "configmap"}:
            raise ValueError(f"{scheme_of(uri)} needs no credentials; remove it")
        return ref

    @field_validator("class_name")
    @classmethod
    def _only_python_has_classes(cls, name: str | None, info: ValidationInfo) -> str | None:
        path, uri = info.data.get("path"), info.data.get("uri")
        if name is None or (path or uri) is None or "format" not in info.data:
            return name
        if (
            info.data["format"] or (guess_format(path) if path is not None else guess_uri_format(uri or ""))
        ) != "Python":
            raise ValueError("only a Python model has a class; remove className")
        if path is not None and is_import(path):
            raise ValueError("the path names its class already; remove className")
        return name

    @property
    def guessed_format(self) -> Format:
        """As written, else what path or uri tell."""
        return self.format or (guess_uri_format(self.uri or "") if self.path is None else guess_format(self.path))


class EnvironmentVariable(Part):
    """One variable of the replicas' environment."""

    name: EnvName = Field(
        description="Its name. POD_NAME, POD_IP and those that begin with PLIMSOLL_ are the server's."
    )
    value: str | None = Field(
        default=None, max_length=32_768, description="Its value, in the open. Default: none; secretRef has it."
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        validate_default=True,
        description="The secret, in the service's namespace, that holds its value. Default: none; value says it.",
    )

    @field_validator("secret_ref")
    @classmethod
    def _one_value(cls, ref: SecretRef | None, info: ValidationInfo) -> SecretRef | None:
        if "value" not in info.data:
            return ref
        if ref is None and info.data["value"] is None:
            problem_at(("..", "value"), "missing; expected value: TEXT, or secretRef: {name: …, key: …}")
        if ref is not None and info.data["value"] is not None:
            raise ValueError("stands beside value, and a variable has one; remove one of them")
        return ref


class Runtime(Part):
    """How the model runs."""

    requirements: Annotated[tuple[RequirementText, ...], Field(strict=False)] = Field(
        default=(), description="What the model imports, as PEP 508 requirements: numpy>=2.0. Default: none."
    )
    isolation: Literal["Thread", "Process"] = Field(
        default="Thread",
        description="Where predict runs. Thread is faster; Process suits a model that holds the interpreter lock, and "
        "can be replaced when it hangs.",
    )
    predict_timeout: PositiveDuration = Field(
        default="10s", description="A call of predict that takes longer counts as hung, and its replica is replaced."
    )
    load_timeout: PositiveDuration = Field(
        default="60s", description="A model that hasn't loaded and warmed up by then has failed."
    )
    unsafe_formats: Annotated[tuple[Literal["Pickle"], ...], Field(strict=False)] = Field(
        default=(),
        description="Pickle allows .pkl, .pickle and .joblib files, which run any code they hold when loaded.",
    )
    image: Image | None = Field(
        default=None,
        description="The image that replicas run in, as plimsoll build makes it. Default: the platform's, which has "
        "numpy, ONNX Runtime and no requirements of yours.",
    )
    env: Annotated[tuple[EnvironmentVariable, ...], Field(strict=False, max_length=256)] = Field(
        default=(), description="The replicas' environment variables, beside the server's own. Default: none."
    )

    @field_validator("env")
    @classmethod
    def _names_differ(cls, env: tuple[EnvironmentVariable, ...]) -> tuple[EnvironmentVariable, ...]:
        names = [one.name for one in env]
        for index, name in enumerate(names):
            if name in names[:index]:
                problem_at((index, "name"), f"{name} is the name of env[{names.index(name)}] too; remove one")
        return env
