"""DVC, torch and the training loop are in this image, and torch is the build asked for. The %test of the image."""

import dvc
import pytorch_lightning
import torch

built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
print(f"dvc {dvc.__version__}, pytorch-lightning {pytorch_lightning.__version__}, torch {torch.__version__} ({built})")
