"""`scripts/finetune`: from a cache to a run record."""

import sys
import warnings

import torch
import transformers

from finetuning import encoders, methods, models, options, process, records
from finetuning.data import Data, augmentation, pixels
from finetuning.errors import Failed
from finetuning.train import Training
from slicebank import CacheError
from wheels import Failed as OfWeights

MEMORY = (
    "give a smaller --batch-size, --save-memory, --precision bf16 on a GPU, more --processes, or a method that trains "
    "less (lora, bitfit, head-only)"
)


def main():
    args = options.parse()
    process.start(args.processes)
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise Failed("`--device cuda`: PyTorch finds no GPU", "leave --device out to compute on the CPU")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = process.join(args.device)
    data = Data(args)
    card = None if args.model else encoders.card_of(args, data)
    options.complete(args, data.meta["dataset"], card)
    kind = augmentation(args, data)
    settings = options.settings(args, kind)
    torch.manual_seed(args.seed)
    encoder, found, weights_sha256 = None, {}, None
    if card:
        changed = methods.changed(args)
        encoder, weights_sha256 = encoders.load_encoder(args, card, changed)
        found["weights_sha256"] = weights_sha256
    key = records.key(args, data, settings, weights_sha256)
    folder = args.runs / "adapters" / f"finetune-{key}"
    state = args.runs / "training" / f"finetune-{key}.pt"
    if args.force or not (folder / records.RUN).is_file():
        array = pixels(args, data)
        if encoder is not None:
            if not changed:
                encoders.check_tokens(data, array, encoder.to(device), args.models / f"{card['name']}.safetensors")
            methods.adapt(args, encoder)
            if args.save_memory:
                encoder.save_memory()
        network = models.build(args, data, encoder)
        methods.load_head(args, network)
        training = Training(args, data, array, network, device, kind, state)
        training.run()
        records.write(args, data, training, settings, found, folder)
    if process.first():
        records.score(args, folder)
        state.unlink(missing_ok=True)


def run():
    try:
        main()
    except (Failed, OfWeights, CacheError) as error:
        return f"error: {error}"
    except torch.OutOfMemoryError as error:
        return f"error: the GPU has too little memory: {str(error).splitlines()[0]}\nhint: {MEMORY}"
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        return f"error: too little memory: {str(error).splitlines()[0]}\nhint: {MEMORY}"
    except KeyboardInterrupt:
        return "stopped; the same command goes on"
    return None


message = run()
if message:
    print(message, file=sys.stderr, flush=True)
process.leave()
sys.exit(2 if message else 0)
