"""The training: steps, choice of the epoch, and a state from which it goes on after a stop."""

import math
import os
import resource
import sys
import time

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from finetuning import losses, methods, process
from finetuning.data import Images
from finetuning.errors import Failed

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Seconds between lines of progress.
BETWEEN = 10


class Training:
    """A network in training. `best` is the epoch, measure and state of the best epoch on `val`."""

    def __init__(self, args, data, array, network, device, augmentation, path):
        self.args, self.data, self.device, self.path = args, data, device, path
        self.network = network.to(device)
        self.images = Images(data, array, augmentation, args.seed)
        self.type = precision(args, device)
        self.step, self.best, self.before = 0, None, 0.0
        self.began = self.saved = self.told = time.monotonic()
        methods.choose(args, network)
        first, target, _ = self.images[int(data.parts["train"][0]), -1]
        self.unused = (first[None].to(device), target[None].to(device))
        methods.leave_out_unused(network, self.unused[0], self.mean_loss)
        self.whole = self.network
        if process.count() > 1:
            if device.type == "cuda":
                self.network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
            devices = [device.index] if device.type == "cuda" else None
            self.whole = DistributedDataParallel(self.network, device_ids=devices)
        self.optimiser = methods.optimiser(args, self.network)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.type == torch.float16)
        self.rows = data.parts["train"]
        self.steps = math.ceil(len(self.rows) / args.batch_size)

    def mean_loss(self, logits):
        return losses.of_images(self.data, logits, self.unused[1]).mean()

    def run(self):
        """Trains for all epochs, from the saved state on if there is one."""
        self.load()
        while self.step < self.steps * self.args.epochs:
            epoch = self.step // self.steps
            self.epoch(epoch)
            self.watch(epoch + 1)
            self.save()
        if self.best is None:
            measure = "Dice" if self.data.is_segmentation else "AUROC"
            raise Failed(f"`{self.data.path}`: no epoch has a defined {measure} on `val`", "give a split with a larger `val`")
        self.network.load_state_dict(self.best["state"], strict=False)

    def epoch(self, epoch):
        """The steps of an epoch that have not been made."""
        draw = torch.Generator().manual_seed(self.args.seed * 1_000_003 + epoch)
        order = self.rows[torch.randperm(len(self.rows), generator=draw).numpy()]
        size, done = self.args.batch_size, self.step % self.steps
        batches = [order[at : at + size] for at in range(done * size, len(order), size)]
        parts = [self.part(batch) for batch in batches]
        loader = self.loader([[(int(row), epoch) for row in rows] for rows, _ in parts])
        self.whole.train()
        if self.args.method == "head-only":
            self.network.encoder.eval()
        for batch, (_, weights), (images, targets, _) in zip(batches, parts, loader):
            self.train(epoch, len(batch), images, targets, weights)
            if time.monotonic() - self.saved > self.args.save_every:
                self.save()

    def part(self, batch):
        """The rows of this process, and their weights: a process without any takes one that does not count."""
        rows = batch[process.rank() :: process.count()]
        return (rows, torch.ones(len(rows))) if len(rows) else (batch[:1], torch.zeros(1))

    def train(self, epoch, size, images, targets, weights):
        """One step over a batch of `size` images, of which `images` are those of this process."""
        total = self.steps * self.args.epochs
        share = (1 + math.cos(math.pi * self.step / total)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = share * group["initial"]
        # Dropout follows from the step, so that a training that was stopped goes on with the same numbers.
        torch.manual_seed((self.args.seed * 1_000_003 + self.step) * 1009 + process.rank())
        targets = targets.to(self.device)
        with torch.autocast(self.device.type, self.type, enabled=self.type != torch.float32):
            logits = self.whole(images.to(self.device))
        found = losses.of_images(self.data, logits, targets) * weights.to(self.device)
        is_sum = self.args.protocol == "paper" and not self.data.is_segmentation and not self.data.is_single
        # Gradients are means over processes.
        loss = found.sum() * process.count() / (1 if is_sum else size)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        value = loss.item()
        if not math.isfinite(value):
            rates = ", ".join(f"{group['lr']:.3g}" for group in self.optimiser.param_groups)
            what = f"`{self.data.path}`: the loss is {value} in step {self.step + 1} (epoch {epoch + 1}), at the rates {rates}"
            raise Failed(what, "give a smaller --lr or --head-lr; with --precision fp16, try bf16 or fp32")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self.tell(epoch, value)

    def tell(self, epoch, loss):
        now, total = time.monotonic(), self.steps * self.args.epochs
        if not process.first() or (now - self.told < BETWEEN and self.step % self.steps):
            return
        self.told = now
        left = self.seconds() / self.step * (total - self.step)
        step = (self.step - 1) % self.steps + 1
        text = f"epoch {epoch + 1} of {self.args.epochs}, step {step} of {self.steps}, loss {loss:.4f}, {left:.0f} s left"
        print(text, file=sys.stderr, flush=True)

    # Outputs.

    def loader(self, batches):
        workers = self.args.workers
        workers = (4 if self.device.type == "cuda" else 0) if workers is None else workers
        pinned = self.device.type == "cuda"
        return DataLoader(self.images, batch_sampler=batches, num_workers=workers, pin_memory=pinned)

    def outputs(self, rows, of):
        """`of(images, rows)` for batches of plain rows."""
        size = self.args.batch_size
        batches = [rows[at : at + size] for at in range(0, len(rows), size)]
        self.network.eval()
        with torch.no_grad(), torch.autocast(self.device.type, self.type, enabled=self.type != torch.float32):
            for images, _, found in self.loader([[(int(row), -1) for row in batch] for batch in batches]):
                yield of(images.to(self.device), found.tolist())

    def logits(self, rows):
        """Logits `[N, O]` of plain rows, by all processes together."""
        mine = rows[process.rank() :: process.count()]
        found = list(self.outputs(mine, lambda images, _: self.network(images).float().cpu().numpy()))
        parts = process.gathered((mine, np.concatenate(found) if found else None))
        parts = [part for part in parts if part[1] is not None]
        order = np.argsort(np.concatenate([part[0] for part in parts]))
        return np.concatenate([part[1] for part in parts])[order]

    def watch(self, epoch):
        """Measures the network on `val`, and keeps it if it is the best so far."""
        # On CPUs, BatchNorm sees the images of its own process only.
        process.share(self.network.buffers())
        value = self.measure(np.sort(self.data.parts["val"]))
        name = "Dice" if self.data.is_segmentation else "AUROC"
        if process.first():
            text = "undefined" if value is None else f"{value:.4f}"
            print(f"epoch {epoch} of {self.args.epochs}: {name} on val {text}", file=sys.stderr, flush=True)
        if value is not None and (self.best is None or value > self.best["value"]):
            kept = {name: tensor.detach().cpu().clone() for name, tensor in methods.state(self.network).items()}
            self.best = {"epoch": epoch, "value": value, "state": kept}

    def measure(self, rows):
        if not self.data.is_segmentation:
            found = losses.scores(self.data, self.args.protocol, self.logits(rows))
            return losses.auroc_macro(self.data, self.args.protocol, found, self.data.targets[rows])
        classes = len(self.data.classes)

        def counts(images, rows):
            truth = torch.stack([self.data.target(row) for row in rows]).to(self.device)
            return losses.overlap(classes, self.network(images).argmax(1), truth)

        mine = rows[process.rank() :: process.count()]
        total = sum(self.outputs(mine, counts), np.zeros((3, classes), np.int64))
        return losses.dice(sum(process.gathered(total)))

    # The state.

    def seconds(self):
        return self.before + time.monotonic() - self.began

    def peak(self):
        """The most memory in bytes: that of a GPU, or of a process."""
        if self.device.type == "cuda":
            return max(process.gathered(torch.cuda.max_memory_allocated(self.device)))
        return max(process.gathered(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))

    def save(self):
        """Writes the state so that a stop at any time leaves the old one or the new one."""
        self.saved = time.monotonic()
        if not process.first():
            return
        state = {
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds(),
            "network": methods.state(self.network),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def load(self):
        if self.args.force or not self.path.is_file():
            return
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"], strict=False)
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
        except Exception as error:
            hint = "delete it, and the training begins anew"
            raise Failed(f"`{self.path}`: cannot go on with it: {str(error).splitlines()[0]}", hint) from error
        self.step, self.best, self.before = state["step"], state["best"], state["seconds"]
        if process.first():
            print(f"goes on after step {self.step} of {self.steps * self.args.epochs}", file=sys.stderr)


def precision(args, device):
    if args.precision != "auto":
        return TYPES[args.precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
