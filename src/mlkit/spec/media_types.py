"""Every media type, artifact type and annotation name that mlkit writes or reads, in one table."""

from __future__ import annotations

from enum import StrEnum

# OCI image specification 1.1
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCTET_STREAM = "application/octet-stream"

# Container images: configs, OCI's and Docker's, and the layers of the OCI image specification
OCI_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_IMAGE_CONFIG = "application/vnd.docker.container.image.v1+json"
IMAGE_CONFIGS = frozenset({OCI_IMAGE_CONFIG, DOCKER_IMAGE_CONFIG})
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

# Docker image manifest, version 2, schema 2: read for images, never written
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})

# CNCF ModelPack
MODELPACK_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
MODELPACK_CONFIG = "application/vnd.cncf.model.config.v1+json"
MODELPACK_LAYER_PREFIX = "application/vnd.cncf.model."

# ModelPack before it came to the CNCF: read, never written; `modctl` 0.2 still builds these
MODELPACK_LEGACY_ARTIFACT = "application/vnd.cnai.model.manifest.v1+json"
MODELPACK_LEGACY_CONFIG = "application/vnd.cnai.model.config.v1+json"

# KitOps ModelKit
KITOPS_ARTIFACT = "application/vnd.kitops.modelkit.manifest.v1+json"
KITOPS_CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
KITOPS_LAYER_PREFIX = "application/vnd.kitops.modelkit."
KITOPS_INDEX_ARTIFACT = "application/vnd.kitops.modelkit.index.v1+json"

# Annotations of the OCI image specification
TITLE = "org.opencontainers.image.title"
DESCRIPTION = "org.opencontainers.image.description"
VERSION = "org.opencontainers.image.version"
LICENSES = "org.opencontainers.image.licenses"
CREATED = "org.opencontainers.image.created"
REF_NAME = "org.opencontainers.image.ref.name"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

# Annotations of ModelPack
FILEPATH = "org.cncf.model.filepath"
LEGACY_FILEPATH = "org.cnai.model.filepath"
FILE_METADATA = "org.cncf.model.file.metadata+json"
LEGACY_FILE_METADATA = "org.cnai.model.file.metadata+json"
FILE_UNTESTED = "org.cncf.model.file.mediatype.untested"

# Annotations of KitOps
KITOPS_KITFILE = "ml.kitops.modelkit.kitfile"
KITOPS_SUBTYPE = "ml.kitops.modelkit.layer-subtype"
KITOPS_TAG = "ml.kitops.modelkit.original-tag"
"""On an entry of an index of kits: the tag that the kit had when it was entered."""

# A field that KitOps adds to the entries of an index of kits, which are descriptors otherwise
KITOPS_LABELS = "modelMetadata"
"""Labels: a map of names to JSON values."""

# Annotations of `oras push`, on layers that hold a directory
ORAS_UNPACK = "io.deis.oras.content.unpack"
ORAS_CONTENT_DIGEST = "io.deis.oras.content.digest"

# Signatures and attestations: Sigstore bundles, DSSE, and the form that cosign wrote before bundles
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"
DSSE_ENVELOPE = "application/vnd.dsse.envelope.v1+json"
"""Of a layer, under cosign's tag for attestations."""
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE_CONTENT = "dev.sigstore.bundle.content"
BUNDLE_PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
SIMPLE_SIGNATURE = "dev.cosignproject.cosign/signature"
"""On a layer of simple signing: the signature of the layer's bytes, base64."""

# mlkit's own
KIT_DOCUMENT_PATH = ".mlkit/kit.json"
KIT = "dev.mlkit.kit"
"""On a manifest: digest of the kit document."""
KIT_REFERENCE = "dev.mlkit.kit.reference"
"""On an image: the kit that it was built from, as it was named."""
KIT_DIGEST = "dev.mlkit.kit.digest"
"""On an image, and on the subject of a statement of model-signing: digest of the kit's manifest."""
KIT_LAYER = "dev.mlkit.kit.layer"
"""On a layer of an image: digest of the kit's layer that it carries."""
CLASS = "dev.mlkit.class"
"""On a layer: the class, where the standard media type does not tell it."""
PARTIAL = "dev.mlkit.partial"
"""On an entry of a local index: "true" where layers are absent on purpose."""
ORIGIN = "dev.mlkit.origin"
"""On an entry of a local index: `host/repository` that the kit was pulled from, where what is absent can be had."""

STATE_HEADER = "Mlkit-State"
"""Of the answer of `mlkit registry serve` to `GET /v2/`: the same text as long as nothing in the registry changed."""


class Class(StrEnum):
    """The classes of a kit's content, in the order in which a kit lists them. Filters use the same words."""

    MODEL = "model"
    DATASETS = "datasets"
    PARAMETERS = "parameters"
    DEPLOYMENT = "deployment"
    CODE = "code"
    DOCS = "docs"
    PROMPTS = "prompts"
    MCPSERVERS = "mcpservers"
