"""What of a network is trained, and how it is saved."""

import json

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from finetuning.errors import Failed

# Names of the layers that project the result of attention, which the study's adapters leave out.
PROJECTIONS = ("o_proj", "out_proj", "proj")
ADAPTER = "adapter_config.json"
MODEL = "model.safetensors"
HEAD = "head.safetensors"


def changed(args):
    """Tensors of the backbone that `--from` replaces, by their names in the file of weights."""
    if args.start is None or (args.start / ADAPTER).is_file():
        return {}
    path = args.start / MODEL
    if not path.is_file():
        hint = "name a folder below RUNS/adapters that `probe adapt` or `finetune` has written"
        raise Failed(f"`{args.start}`: neither `{ADAPTER}` nor `{MODEL}`", hint)
    return load_file(path)


def adapt(args, encoder):
    """Puts low-rank adapters into an encoder, those of `--from` if there are any."""
    has_adapters = args.start is not None and (args.start / ADAPTER).is_file()
    if has_adapters and args.method != "lora":
        hint = "give --method lora"
        raise Failed(f"`{args.start}`: low-rank adapters, which `{args.method}` does not train", hint)
    if args.method != "lora":
        return
    # The files name no folder of this machine.
    encoder.model.name_or_path = None
    if has_adapters:
        try:
            encoder.model = peft.PeftModel.from_pretrained(encoder.model, args.start, is_trainable=True)
        except (ValueError, RuntimeError, OSError) as error:
            hint = "they must be of this backbone"
            raise Failed(f"`{args.start}`: adapters that cannot be loaded: {error}", hint) from error
        return
    config = peft.LoraConfig(
        r=args.rank,
        lora_alpha=args.alpha,
        lora_dropout=args.dropout,
        target_modules=targets(encoder),
        bias="lora_only",
    )
    encoder.model = peft.get_peft_model(encoder.model, config)


def targets(encoder):
    """The layers that make queries, keys and values, and those of the MLP."""
    inside = {id(module) for block in encoder.original.taps for module in block.modules()}
    return [
        name
        for name, module in encoder.model.named_modules()
        if isinstance(module, nn.Linear)
        and id(module) in inside
        and name.rsplit(".", 1)[-1] not in PROJECTIONS
    ]


def choose(args, network):
    """Sets which parameters are trained. Those that the loss does not depend on are not."""
    if args.method == "scratch":
        return
    for name, parameter in network.encoder.named_parameters():
        if args.method == "bitfit":
            parameter.requires_grad_(name.endswith("bias"))
        elif args.method != "lora":
            parameter.requires_grad_(args.method == "full")


def leave_out_unused(network, images, loss):
    """Freezes parameters without a gradient, such as those of a pooling that no token goes through."""
    network.eval()
    loss(network(images)).backward()
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None


def load_head(args, network):
    """The head of `--from`, if its shape is that of the classes."""
    if args.start is None:
        return
    path = args.start / HEAD
    try:
        network.head.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        hint = "it must have been trained for these classes, with this decoder"
        raise Failed(f"`{path}`: {text}", hint) from error


def groups(args, network):
    """Parameters with their rates: those of the head and the others."""
    head = {id(parameter) for parameter in network.head.parameters()} if args.method != "scratch" else set()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kinds = [
        ([parameter for parameter in trained if id(parameter) in head], args.head_lr),
        ([parameter for parameter in trained if id(parameter) not in head], args.lr),
    ]
    return [{"params": found, "lr": rate, "initial": rate} for found, rate in kinds if found]


def optimiser(args, network):
    if args.optimiser == "sgd":
        return torch.optim.SGD(groups(args, network), momentum=0.9)
    return torch.optim.AdamW(groups(args, network), weight_decay=args.weight_decay)


def counts(network):
    """Numbers of trained parameters, and of all."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def state(network):
    """Tensors that training changes."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    trained |= {name for name, _ in network.named_buffers()}
    return {name: tensor for name, tensor in network.state_dict().items() if name in trained}


def save(args, network, folder, about):
    """Writes what was trained into a folder."""
    metadata = {"slicebank": json.dumps(about)}
    whole = network.state_dict()
    if args.method == "scratch":
        save_file({name: tensor.contiguous().cpu() for name, tensor in whole.items()}, folder / MODEL, metadata)
        return
    head = network.head.state_dict()
    save_file({name: tensor.contiguous().cpu() for name, tensor in head.items()}, folder / HEAD, metadata)
    model = network.encoder.model
    if args.method == "lora":
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
    elif args.method != "head-only":
        save_encoder(network.encoder, folder)


def save_encoder(encoder, folder):
    """Writes the whole encoder under names that `extract export` knows."""
    if isinstance(encoder.model, transformers.PreTrainedModel):
        encoder.model.save_pretrained(folder)
    else:
        tensors = {name: tensor.contiguous().cpu() for name, tensor in encoder.model.state_dict().items()}
        save_file(tensors, folder / MODEL, {"format": "pt"})
