"""The Kitfiles that a careful colleague would write for the projects of `project_trees`."""

from __future__ import annotations

HEAD = """\
manifestVersion: 1.0.0
package:
  name: kit
"""

EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "a transformer in shards": (
        """\
  license: Apache-2.0
model:
  name: kit
  path: model-00001-of-00002.safetensors
  framework: transformers
  format: safetensors
  parts:
    - name: config
      path: config.json
      type: config
    - name: generation_config
      path: generation_config.json
      type: config
    - name: model-00002-of-00002
      path: model-00002-of-00002.safetensors
      type: shard
    - name: model
      path: model.safetensors.index.json
      type: index
    - name: special_tokens_map
      path: special_tokens_map.json
      type: tokenizer
    - name: tokenizer
      path: tokenizer.json
      type: tokenizer
    - name: tokenizer_config
      path: tokenizer_config.json
      type: tokenizer
  parameters:
    architecture: LlamaForCausalLM
    parameterCount: 4608
    precision: bf16
code:
  - path: .gitattributes
docs:
  - path: README.md
inputs:
  - role: base-model
    name: org/base
    uri: hf://org/base
  - role: dataset
    name: org/corpus
    uri: hf://datasets/org/corpus
""",
        (),
    ),
    "a LoRA adapter": (
        """\
model:
  name: kit
  path: adapter_model.safetensors
  framework: peft
  format: safetensors
  parts:
    - name: adapter_config
      path: adapter_config.json
      type: config
  parameters:
    adapter:
      alpha: 16
      rank: 8
      type: LORA
    parameterCount: 32
    precision: fp32
parameters:
  - name: training_args
    path: training_args.bin
docs:
  - path: README.md
inputs:
  - role: adapter-base
    name: org/base-7b
    uri: hf://org/base-7b
""",
        ("training_args.bin: may run code when loaded; safetensors and ONNX do not",),
    ),
    "a LoRA adapter of a base that may be a path": (
        """\
model:
  name: kit
  path: adapter_model.safetensors
  framework: peft
  format: safetensors
  parts:
    - name: adapter_config
      path: adapter_config.json
      type: config
  parameters:
    adapter:
      type: LORA
    parameterCount: 512
    precision: bf16
""",
        (
            'adapter_config.json: names the base model "models/base", which may be a path; if it is on '
            "Hugging Face, add hf://models/base to inputs, role adapter-base",
        ),
    ),
    "one GGUF": (
        """\
  license: MIT
model:
  name: kit
  path: tiny-Q4_K_M.gguf
  format: gguf
  parameters:
    architecture: llama
    parameterCount: 320
    quantization: Q4_K_M
deployment:
  - name: Modelfile
    path: Modelfile
    runtime: ollama
docs:
  - path: README.md
inputs:
  - role: base-model
    name: org/tiny
    uri: hf://org/tiny
""",
        (),
    ),
    "a GGUF in parts, with a projector": (
        """\
model:
  name: kit
  path: big-00001-of-00002.gguf
  format: gguf
  parts:
    - name: big-00002-of-00002
      path: big-00002-of-00002.gguf
      type: shard
    - name: mmproj-big-f16
      path: mmproj-big-f16.gguf
      type: projector
  parameters:
    architecture: qwen2
    parameterCount: 384
    quantization: Q8_0
""",
        (),
    ),
    "ONNX with its data beside it": (
        """\
  license: Apache-2.0
model:
  name: kit
  path: model.onnx
  framework: pytorch
  format: onnx
  parts:
    - name: config
      path: config.json
      type: config
    - name: model
      path: model.onnx_data
      type: external-data
    - name: vocab
      path: vocab.txt
      type: tokenizer
  parameters:
    architecture: bert
    parameterCount: 64
    precision: fp32
docs:
  - path: LICENSE
""",
        (),
    ),
    "scikit-learn": (
        """\
model:
  name: kit
  path: model.pkl
  framework: scikit-learn
  format: pickle
datasets:
  - name: data
    path: data
parameters:
  - name: params
    path: params.yaml
code:
  - path: requirements.txt
  - path: train.py
docs:
  - path: README.md
  - path: metrics.json
""",
        ("model.pkl: may run code when loaded; safetensors and ONNX do not",),
    ),
    "Keras": (
        """\
model:
  name: kit
  path: classifier.keras
  framework: keras
  format: keras
  parts:
    - name: labels
      path: labels.txt
parameters:
  - name: training_config
    path: training_config.yaml
code:
  - path: train.ipynb
""",
        ("labels.txt: lies beside the weights; taken for a part of the model",),
    ),
    "a SavedModel": (
        """\
model:
  name: kit
  path: export
  framework: tensorflow
  format: saved_model
deployment:
  - name: Dockerfile
    path: Dockerfile
  - name: docker-compose
    path: docker-compose.yml
""",
        (),
    ),
    "a web dataset": (
        """\
  license: CC-BY-4.0
datasets:
  - name: more
    path: more.tar
  - name: shards
    path: shards
docs:
  - path: README.md
""",
        ("more.tar: is an archive; taken for a dataset",),
    ),
    "a folder of pictures": (
        """\
datasets:
  - name: pets
    path: pets
code:
  - path: resize.py
docs:
  - path: docs
""",
        ("pets (17 files): is one of many pictures or recordings; taken for data",),
    ),
    "notebooks": (
        """\
datasets:
  - name: data
    path: data
code:
  - path: environment.yml
  - path: notebooks
""",
        (),
    ),
    "bundles of MCP servers": (
        """\
docs:
  - path: servers/README.md
mcpServers:
  - name: files
    path: servers/files.mcpb
  - name: mail
    path: servers/mail.mcpb
""",
        (),
    ),
    "prompts and skills": (
        """\
prompts:
  - name: AGENTS
    path: AGENTS.md
  - name: prompts
    path: prompts
  - name: skills
    path: skills
  - name: summary
    path: summary.prompt
""",
        (),
    ),
    "a diffusion pipeline": (
        """\
model:
  name: kit
  path: unet
  framework: diffusers
  format: safetensors
  parts:
    - name: model_index
      path: model_index.json
      type: config
    - name: scheduler
      path: scheduler
    - name: tokenizer
      path: tokenizer
    - name: vae
      path: vae
  parameters:
    architecture: StableDiffusionPipeline
    precision: fp16
""",
        (),
    ),
    "everything at once": (
        """\
  license: Apache-2.0
model:
  name: kit
  path: models
  framework: pytorch
  format: safetensors
  parameters:
    parameterCount: 512
    precision: bf16
datasets:
  - name: data
    path: data
parameters:
  - name: configs
    path: configs
deployment:
  - name: deploy
    path: deploy
  - name: isvc
    path: isvc
    runtime: kserve
  - name: triton
    path: triton
    runtime: triton
code:
  - path: pyproject.toml
  - path: src
  - path: tests
docs:
  - path: LICENSE
  - path: MODEL_CARD.md
  - path: docs
prompts:
  - name: prompts
    path: prompts
""",
        (
            "there are weights in several formats: models/digits.safetensors is taken for the model, "
            "models/digits.onnx for parts of it",
            ".env: left out, looks like a credential",
        ),
    ),
    "nothing": ("", ("no file was found, so the Kitfile has no entries",)),
    "secrets": (
        "",
        (
            "push.py: left out, holds what looks like an access token; if it is none, name it in the Kitfile",
            ".env, account.json, deploy-key.txt, id_rsa, login/auth.json, server.key, token: left out, "
            "looks like a credential",
            "no file was found, so the Kitfile has no entries",
        ),
    ),
}
"""Sections after `HEAD`, and what a person is told beside them."""
