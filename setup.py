"""Packaging. Lower bounds are versions that the tests were run with."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="all-mlp",
    version="0.1.0",
    description="MLP-Mixer and its relatives in JAX and Flax: train, fine-tune, evaluate.",
    long_description=Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    project_urls={
        "MLP-Mixer": "https://arxiv.org/abs/2105.01601",
        "Pay Attention to MLPs": "https://arxiv.org/abs/2105.08050",
    },
    python_requires=">=3.11",
    packages=find_packages(include=["configs", "launch", "mlp_*"]),
    package_data={name: ["published_tables/*.json"] for name in ("mlp_vision", "mlp_text")},
    install_requires=[
        "absl-py>=2.3",
        "array_record>=0.8",
        "clu>=0.0.12",
        "flatbuffers>=25.2",  # jax.export serializes with it, without declaring it
        "flax>=0.12.4",
        "google-crc32c>=1.6",
        "grain>=0.2.16",
        "h5py>=3.14",  # without it TFDS hides its text data sets
        "huggingface_hub>=0.34",
        "importlib_resources>=6.5",  # TFDS imports it without declaring it
        "jax>=0.10",
        "matplotlib>=3.10",
        "ml-collections>=1.1",
        "ml_dtypes>=0.5",
        "numpy>=2.1",
        "opencv-python-headless>=4.11",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.12",
        "pillow>=11.3",
        "protobuf>=6.33.5",
        "pydantic>=2.11",
        "requests>=2.32.2",
        "safetensors>=0.6",
        "scikit-learn>=1.7",
        "scipy>=1.14",
        "sentencepiece>=0.2.1",
        "simplejpeg>=1.9",
        "tensorboardX>=2.6.4",
        "tensorflow-datasets>=4.9.10",
        "tokenizers>=0.21",
        "tqdm>=4.67",
        "urllib3>=2.2",
    ],
    extras_require={
        "gpu": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        # Only to prepare data sets of TFDS that have no builder here; never used in training.
        "prepare": ["tensorflow-cpu>=2.21"],
        "test": [
            *("ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"),
            *("psutil>=7", "pytest>=8.4", "pytest-timeout>=2.4", "pytest-xdist>=3.6"),
            "ruff>=0.17,<0.18",
        ],
    },
)
