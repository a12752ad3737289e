"""Projects as people have them: what lies in each, in small."""

from __future__ import annotations

from tests.packing import weights

APACHE = b"                                 Apache License\n                           Version 2.0, January 2004\n"
LLAMA_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16"}
TOKENIZER = {"tokenizer.json": b"{}", "tokenizer_config.json": b"{}", "special_tokens_map.json": b"{}"}
BF16 = weights.safetensors({"model.w": ("BF16", [64, 8], 1024)}, {"format": "pt"})
PICTURE = b"\xff\xd8\xff\xe0picture"

TREES: dict[str, dict[str, bytes]] = {
    "a transformer in shards": {
        "README.md": b"---\nlicense: apache-2.0\nbase_model: org/base\nbase_model_relation: finetune\n"
        b"datasets:\n  - org/corpus\n---\n# Tiny\n",
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "config.json": weights.as_json(LLAMA_CONFIG),
        "generation_config.json": b"{}",
        "model-00001-of-00002.safetensors": BF16,
        "model-00002-of-00002.safetensors": weights.safetensors({"lm_head": ("BF16", [512, 8], 8192)}),
        "model.safetensors.index.json": weights.as_json(
            {
                "weight_map": {
                    "model.w": "model-00001-of-00002.safetensors",
                    "lm_head": "model-00002-of-00002.safetensors",
                }
            }
        ),
        **TOKENIZER,
    },
    "a LoRA adapter": {
        "README.md": b"---\nbase_model: org/base-7b\nlibrary_name: peft\n---\n",
        "adapter_config.json": weights.as_json(
            {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "org/base-7b", "revision": None}
        ),
        "adapter_model.safetensors": weights.safetensors({"lora_A": ("F32", [8, 4], 128)}, {"format": "pt"}),
        "training_args.bin": weights.torch(),
    },
    "a LoRA adapter of a base that may be a path": {
        "adapter_config.json": weights.as_json({"peft_type": "LORA", "base_model_name_or_path": "models/base"}),
        "adapter_model.safetensors": BF16,
    },
    "one GGUF": {
        "README.md": b"# Tiny\n",
        "tiny-Q4_K_M.gguf": weights.gguf(
            {
                "general.architecture": "llama",
                "general.name": "Tiny",
                "general.file_type": 15,
                "general.license": "mit",
                "general.base_model.0.repo_url": "https://huggingface.co/org/tiny",
            },
            [("a", [64, 4], 12), ("norm", [64], 0)],
        ),
        "Modelfile": b"FROM ./tiny-Q4_K_M.gguf\n",
    },
    "a GGUF in parts, with a projector": {
        "big-00001-of-00002.gguf": weights.gguf({"general.architecture": "qwen2", "general.file_type": 7}),
        "big-00002-of-00002.gguf": weights.gguf({}, [("b", [32, 8], 8)]) + b"\0" * 4096,
        "mmproj-big-f16.gguf": weights.gguf({"general.architecture": "clip", "general.type": "mmproj"}) + b"\0" * 9999,
    },
    "ONNX with its data beside it": {
        "model.onnx": weights.onnx([([16, 4], 1)], external="model.onnx_data"),
        "model.onnx_data": b"\0" * 256,
        "config.json": weights.as_json({"model_type": "bert"}),
        "vocab.txt": b"[PAD]\n",
        "LICENSE": APACHE,
    },
    "scikit-learn": {
        "model.pkl": weights.pickled(),
        "train.py": b"from sklearn.linear_model import LogisticRegression\n",
        "requirements.txt": b"scikit-learn\n",
        "params.yaml": b"C: 1.0\n",
        "data/train.csv": b"a,b\n1,2\n",
        "data/test.csv": b"a,b\n1,2\n",
        "metrics.json": b"{}",
        "README.md": b"# Iris\n",
    },
    "Keras": {
        "classifier.keras": weights.keras(),
        "labels.txt": b"cat\ndog\n",
        "train.ipynb": b"{}",
        "training_config.yaml": b"epochs: 3\n",
    },
    "a SavedModel": {
        "export/1/saved_model.pb": b"\x08\x01",
        "export/1/fingerprint.pb": b"\x08\x01",
        "export/1/variables/variables.index": b"\0",
        "export/1/variables/variables.data-00000-of-00001": b"\0" * 64,
        "export/1/assets/vocab.txt": b"a\n",
        "Dockerfile": b"FROM tensorflow/serving\n",
        "docker-compose.yml": b"services:\n  serving:\n    build: .\n",
    },
    "a web dataset": {
        **{
            f"shards/train-{number:06}.tar": weights.tar("000000.jpg", "000000.json", "000001.jpg", "000001.json")
            for number in range(3)
        },
        "README.md": b"---\nlicense: cc-by-4.0\n---\n",
        "more.tar": weights.tar("a/b.c", "d"),
    },
    "a folder of pictures": {
        **{f"pets/cats/{number}.jpg": PICTURE for number in range(8)},
        **{f"pets/dogs/{number}.jpg": PICTURE for number in range(8)},
        "pets/classes.txt": b"cats\ndogs\n",
        "docs/overview.png": PICTURE,
        "resize.py": b"",
    },
    "notebooks": {
        "notebooks/01-explore.ipynb": b"{}",
        "notebooks/02-train.ipynb": b"{}",
        "notebooks/plot.png": PICTURE,
        "environment.yml": b"name: x\n",
        "data/raw/table.parquet": b"PAR1",
    },
    "bundles of MCP servers": {
        "servers/files.mcpb": weights.bundle(),
        "servers/mail.mcpb": weights.bundle(),
        "servers/README.md": b"# Servers\n",
    },
    "prompts and skills": {
        "skills/pdf/SKILL.md": b"---\nname: pdf\n---\n",
        "skills/pdf/scripts/fill.py": b"",
        "skills/pdf/LICENSE.txt": APACHE,
        "prompts/system.md": b"Be short.",
        "summary.prompt": b"Sum up.",
        "AGENTS.md": b"# Agents\n",
    },
    "a diffusion pipeline": {
        "model_index.json": weights.as_json({"_class_name": "StableDiffusionPipeline"}),
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": weights.safetensors({"w": ("F16", [999], 1998)}),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": weights.safetensors({"w": ("F16", [9], 18)}),
        "tokenizer/merges.txt": b"",
        "tokenizer/vocab.json": b"{}",
        "scheduler/scheduler_config.json": b"{}",
    },
    "everything at once": {
        "models/digits.safetensors": BF16,
        "models/digits.onnx": weights.onnx(),
        "models/config.json": b"{}",
        "data/train.jsonl": b"{}\n",
        "data/eval.arrow": b"ARROW1\0\0",
        "configs/train.yaml": b"lr: 0.1\n",
        "configs/deepspeed.json": b"{}",
        "deploy/k8s/service.yaml": b"apiVersion: v1\nkind: Service\n",
        "deploy/Dockerfile": b"FROM scratch\n",
        "triton/digits/config.pbtxt": b'name: "digits"\n',
        "isvc/digits.yaml": b"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n",
        "prompts/system.md": b"Be short.",
        "src/digits/train.py": b"",
        "tests/test_train.py": b"",
        "pyproject.toml": b"[project]\n",
        "docs/guide.md": b"# Guide\n",
        "MODEL_CARD.md": b"# Digits\n",
        "LICENSE": APACHE,
        ".env": b"TOKEN=x\n",
        ".git/config": b"[core]\n",
        "node_modules/a/index.js": b"",
        "src/digits/__pycache__/train.pyc": b"",
    },
    "nothing": {},
    "secrets": {
        ".env": b"HF_TOKEN=x\n",
        "id_rsa": b"key",
        "server.key": b"key",
        "deploy-key.txt": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
        "account.json": b'{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nAA"}',
        "token": b"hf_" + b"a" * 34 + b"\n",
        "login/auth.json": b'{"auths": {"registry.example": {"auth": "dXNlcjpwYXNz"}}}',
        "push.py": b"TOKEN = 'ghp_" + b"aB3dE9" * 6 + b"'\n",
    },
}
