"""TLS, mutual TLS and tokens, through a real channel to a second process; nothing of the model shows before them."""

from __future__ import annotations

import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from perturbcast_client import Condition, Tls, UnauthenticatedError, UnavailableError, codec, connect
from prediction_service.security import Security, TokenCheck, read_tokens
from prediction_service.server import ServerConfig

IFNB = Condition.from_label("IFNB", "B cells")
TOKEN = "0123456789abcdef0123456789abcdef"
SECRETS = ("known", "champion", "ISG15", "B cells", "f" * 64)  # of the model that is served
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
MATERIAL = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")


def make_certificate(folder, name, *, signed_by=None):
    """A certificate for 127.0.0.1 and its key as ``name.pem`` and ``name.key``; its own authority by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = signed_by or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = make_certificate(folder, "ca")
    make_certificate(folder, "server", signed_by=authority)
    make_certificate(folder, "client", signed_by=authority)
    make_certificate(folder, "stranger", signed_by=make_certificate(folder, "other-ca"))
    (folder / "tokens").write_text(f"# ours\n\nanother-token-of-ours\n{TOKEN}\n")
    return folder


@pytest.fixture(scope="module")
def guarded(start_service, files):
    """A service that asks for a token, in plain text on loopback."""
    return start_service(security={"token_file": str(files / "tokens")})


@pytest.fixture(scope="module")
def mutual(start_service, files):
    """A service that speaks TLS and asks for a client's certificate and a token."""
    paths = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem", "token_file": "tokens"}
    return start_service(security={field: str(files / name) for field, name in paths.items()})


def tls(files, *, ca="ca", client="client"):
    own = {} if client is None else {"certificate_file": files / f"{client}.pem", "key_file": files / f"{client}.key"}
    return Tls(ca_file=files / f"{ca}.pem", **own)


def test_a_token_of_the_file_opens_the_service(guarded):
    for token in (TOKEN, "another-token-of-ours"):
        with connect(guarded.address, token=token, timeout_s=20) as client:
            assert client.predict("known", [IFNB]).conditions == (IFNB,)
            assert [len(chunk.conditions) for chunk in client.predict_stream("known", [IFNB] * 3, chunk_size=2)] == [
                2,
                1,
            ]


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param((), id="none"),
        pytest.param((("authorization", "Bearer " + "f" * 32),), id="wrong"),
        pytest.param((("authorization", TOKEN),), id="without-the-word-bearer"),
        pytest.param((("authorization", f"Bearer {TOKEN} "),), id="with-a-blank"),
        pytest.param((("authorization", "Bearer # ours"),), id="the-comment"),
        pytest.param((("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")), id="twice"),
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        *(pytest.param(m.path, id=m.name) for m in (codec.LIST_MODELS, codec.GET_MODEL, codec.PREDICT)),
        pytest.param(codec.PREDICT_STREAM.path, id=codec.PREDICT_STREAM.name),
        pytest.param("/inference.GRPCInferenceService/ModelInfer", id="ModelInfer"),
        pytest.param("/inference.GRPCInferenceService/ServerMetadata", id="ServerMetadata"),
        pytest.param(REFLECTION, id="reflection"),
        pytest.param("/perturbcast.prediction.v1.PredictionService/NoSuchMethod", id="no-such-method"),
    ],
)
def test_without_a_token_every_method_is_closed_and_says_nothing_of_the_model(guarded, path, metadata):
    with grpc.insecure_channel(guarded.address) as channel:
        call = channel.stream_stream(path)(iter([b""]), timeout=20, metadata=metadata)
        with pytest.raises(grpc.RpcError) as refused:
            list(call)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "every call but health brings the metadata 'authorization: Bearer TOKEN'" in refused.value.details()
    shown = refused.value.details() + str(refused.value.trailing_metadata())
    assert not [secret for secret in (*SECRETS, TOKEN, path) if secret in shown]


def test_the_clients_error_for_it(guarded):
    with connect(guarded.address, token="x" * 32, timeout_s=20) as client, pytest.raises(UnauthenticatedError):
        client.list_models()


def test_health_needs_no_token(guarded):
    with grpc.insecure_channel(guarded.address) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_token_is_not_in_the_log(guarded):
    assert TOKEN not in guarded.log + guarded.output


def test_mutual_tls_with_certificate_and_token(mutual, files):
    with connect(mutual.address, tls=tls(files), token=TOKEN, timeout_s=20) as client:
        assert client.predict("known", [IFNB]).conditions == (IFNB,)


def test_a_certificate_does_not_replace_the_token(mutual, files):
    with connect(mutual.address, tls=tls(files), timeout_s=20) as client, pytest.raises(UnauthenticatedError):
        client.list_models()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"client": None}, id="no-certificate"),
        pytest.param({"client": "stranger"}, id="certificate-of-another-authority"),
        pytest.param({"ca": "other-ca"}, id="server-not-trusted"),
        pytest.param(None, id="plain-text"),
    ],
)
def test_a_failed_handshake_says_nothing_of_the_model(mutual, files, options):
    chosen = None if options is None else tls(files, **options)
    with (
        connect(mutual.address, tls=chosen, token=TOKEN, timeout_s=20, attempts=1) as client,
        pytest.raises(UnavailableError) as refused,
    ):
        client.list_models()
    assert not [secret for secret in SECRETS if secret in refused.value.message]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"certificate": "server.pem"}, "only a certificate was given", id="no-key"),
        pytest.param({"key": "server.key"}, "only a key was given", id="no-certificate"),
        pytest.param({"client_ca": "ca.pem"}, "Mutual TLS begins with TLS", id="client-ca-alone"),
        pytest.param({"certificate": "server.pem", "key": "client.key"}, "belong together", id="another-key"),
        pytest.param({"certificate": "server.pem", "key": "absent"}, "No such file", id="absent"),
        pytest.param({"certificate": "tokens", "key": "server.key"}, "are PEM", id="no-pem"),
    ],
)
def test_bad_tls_files_start_nothing(files, fields, says):
    with pytest.raises(ValueError, match=says):
        Security(**{field: files / name for field, name in fields.items()}).credentials()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds none"),
        ("# only a comment\n", "holds none"),
        ("short\n", "number 1 .* has 5 characters"),
        (f"{TOKEN}\ntwo words of it all\n", "number 2 "),
        ("ünïcödé-ünïcödé-ünïcödé\n", "number 1 "),
        (None, "cannot be read"),
    ],
    ids=["empty", "comment", "short", "blank", "not-ascii", "absent"],
)
def test_a_bad_token_file_starts_nothing_and_is_not_quoted(tmp_path, text, says):
    path = tmp_path / "tokens"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says) as refused:
        read_tokens(path)
    assert TOKEN not in str(refused.value)


def test_every_token_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "prediction_service.security.hmac.compare_digest", lambda one, other: compared.append((one, other)) or True
    )
    assert TokenCheck([TOKEN, "another-token-of-ours", "a" * 64]).knows(f"Bearer {TOKEN}")
    assert len(compared) == 3, "no early end that tells which token matched"
    assert {len(digest) for pair in compared for digest in pair} == {32}


@pytest.mark.parametrize(
    ("security", "missing"),
    [
        pytest.param({"certificate": "c", "key": "k"}, "no tokens or client certificates", id="tls-alone"),
        pytest.param({"token_file": "t"}, "no TLS", id="tokens-alone"),
    ],
)
def test_a_public_address_takes_both(security, missing):
    with pytest.raises(ValueError, match=f"would have {missing}\\."):
        ServerConfig(host="0.0.0.0", security=Security(**security))


@pytest.mark.parametrize("knows", ["token_file", "client_ca"])
def test_a_public_address_with_both_is_accepted(knows):
    assert ServerConfig(host="0.0.0.0", security=Security(certificate="c", key="k", **{knows: "t"})).port == 50051


@pytest.mark.parametrize("address", ["10.0.0.1:1", "example.org:50051"])
def test_a_client_sends_no_token_in_plain_text_to_another_machine(address):
    with pytest.raises(ValueError, match="token: a token leaves this machine over TLS only"):
        connect(address, token=TOKEN)


def test_a_compressed_message_is_refused_before_it_is_unpacked(guarded):
    """A gzip message under the limit may unpack to a thousand times as much."""
    with grpc.insecure_channel(guarded.address, compression=grpc.Compression.Gzip) as channel:
        send = channel.unary_unary(codec.PREDICT.path)
        with pytest.raises(grpc.RpcError) as refused:
            send(bytes(48 * 2**20), timeout=20, metadata=(("authorization", f"Bearer {TOKEN}"),))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
