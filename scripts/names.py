"""Tensors under the names of the models in originals.py, whoever's names a file has.

Each function takes and gives a dictionary of PyTorch's tensors or NumPy's arrays by name, and leaves
names that it does not know.
"""

import re


def torchvision(tensors):
    """Those of torchvision's modules, for files of timm and for its own older ones."""
    renamed = {}
    for name, values in tensors.items():
        name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
        name = name.replace("pre_logits.fc1.", "classifier.0.")
        name = name.replace("pre_logits.fc2.", "classifier.3.")
        # timm has VGG's first linear layers as convolutions.
        linear = name.startswith("classifier.") and values.ndim == 4
        renamed[name] = values.reshape(len(values), -1) if linear else values
    return renamed


def sam(tensors):
    """Those of timm's SAM, for files of Segment Anything and of Hugging Face."""
    parts = (
        (r"^(?:image_encoder|vision_encoder)\.", ""),
        (r"^layers\.(\d+)\.layer_norm([12])\.", r"blocks.\1.norm\2."),
        (r"^layers\.", "blocks."),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.mlp\.lin([12])\.", r".mlp.fc\1."),
    )
    return {substituted(name, parts): values for name, values in tensors.items()}


def dinov3(tensors):
    """Those of Hugging Face's DINOv3, for files of Meta, also of trainings (`backbone.`).

    Meta's blocks have queries, keys and values in one tensor. The keys' bias is masked: it is not
    used, and Hugging Face's models have none.
    """
    if not any(re.search(r"(?:^|\.)blocks\.\d+\.attn\.qkv\.", name) for name in tensors):
        return tensors
    parts = (
        (r"^(?:module\.)?(?:backbone\.)?", ""),
        (r"^(cls_token|mask_token)$", r"embeddings.\1"),
        (r"^storage_tokens$", "embeddings.register_tokens"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings."),
        (r"^blocks\.", "layer."),
        (r"\.attn\.proj\.", ".attention.o_proj."),
        (r"\.attn\.", ".attention."),
        (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
        (r"\.mlp\.fc1\.", ".mlp.up_proj."),
        (r"\.mlp\.fc2\.", ".mlp.down_proj."),
    )
    renamed = {}
    for name, values in tensors.items():
        name = substituted(name, parts)
        if name.endswith("bias_mask") or name.startswith("rope_embed."):
            continue
        if ".qkv." not in name:
            renamed[name] = values
            continue
        width = len(values) // 3
        for index, part in enumerate(("q_proj", "k_proj", "v_proj")):
            target = name.replace("qkv", part)
            if not target.endswith("k_proj.bias"):
                renamed[target] = values[index * width : (index + 1) * width]
    return renamed


def substituted(name, parts):
    for pattern, replacement in parts:
        name = re.sub(pattern, replacement, name)
    return name
