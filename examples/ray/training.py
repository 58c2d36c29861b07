"""Trains a linear model on two workers: `python examples/ray/training.py`.

Needs `pip install 'seedcore[train]'` here and on the nodes. The workers fit y = X w; each epoch they average their
gradients, and worker 0 reports the loss.
"""

import importlib.util
import sys

from seedcore.utils.ray_utils import ensure_ray_initialized

NEEDED = {"torch": "torch", "pyarrow": "pyarrow", "pandas": "pandas"}


def train_func(config: dict[str, float]) -> None:
    """Runs on every worker."""
    import torch
    from ray import train
    from ray.train.torch import prepare_model

    torch.manual_seed(train.get_context().get_world_rank())
    truth = torch.arange(10, dtype=torch.float32).unsqueeze(1)
    inputs = torch.randn(512, 10)
    model = prepare_model(torch.nn.Linear(10, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for epoch in range(int(config["epochs"])):
        loss = torch.nn.functional.mse_loss(model(inputs), inputs @ truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train.report({"epoch": epoch, "loss": loss.item()})


def main() -> int:
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(
            f"This needs {', '.join(missing)}: pip install 'seedcore[train]', here and on the nodes.", file=sys.stderr
        )
        return 2
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    if not ensure_ray_initialized():
        print("There is no Ray here: set RAY_ADDRESS to ray://HOST:10001.", file=sys.stderr)
        return 1
    config = {"lr": 0.1, "epochs": 200}
    trainer = TorchTrainer(
        train_loop_per_worker=train_func, train_loop_config=config, scaling_config=ScalingConfig(num_workers=2)
    )
    metrics = trainer.fit().metrics
    print(f"Loss after epoch {metrics['epoch']}: {metrics['loss']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
