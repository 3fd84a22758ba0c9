"""The public perception models with a few thousand random weights each, and their processors, as the hub has them."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = {
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    1012: ".",
    1029: "?",
    2000: "dog",
    2001: "red",
    2002: "ball",
    2003: "##s",
}
"""Token -> word, where BERT has them; GroundingDINO goes by the numbers of its full stops."""


def bert_tokenizer(folder: Path):
    from transformers import BertTokenizer

    vocabulary = ["[PAD]", *(WORDS.get(k, f"[unused{k}]") for k in range(1, 2004))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return BertTokenizer(str(folder / "vocab.txt"))


def grounding_dino():
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=2004, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=12, max_text_len=32,
    )  # fmt: skip
    return GroundingDinoForObjectDetection(config)


def grounding_dino_pictures():
    from transformers import GroundingDinoImageProcessorPil

    return GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def sam2():
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig
    from transformers.models.sam2_video.configuration_sam2_video import (
        Sam2VideoMaskDecoderConfig,
        Sam2VideoPromptEncoderConfig,
    )

    torch.manual_seed(0)
    hiera = Sam2HieraDetConfig(
        hidden_size=8, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 24, 32],
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[8, 4, 4, 4], global_attention_blocks=[3],
        window_positional_embedding_background_size=[2, 2],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=hiera, backbone_channel_list=[32, 24, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=128,
    )  # fmt: skip
    config = Sam2VideoConfig(
        vision_config=vision, image_size=64, num_maskmem=4, max_object_pointers_in_encoder=6,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=64, mask_input_channels=8),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=128, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16, num_hidden_layers=1
        ),
        memory_attention_hidden_size=128, memory_attention_num_layers=1, memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4], memory_encoder_hidden_size=128, memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128, memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=16,
    )  # fmt: skip
    model = Sam2VideoModel(config)
    with torch.no_grad():  # what memory and hidden things add is zero before training: nothing would be tested
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(2.0)
    return model


def depth_anything(kind: str = "relative"):
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    dino = Dinov2Config(
        image_size=28, patch_size=14, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=dino, reassemble_hidden_size=8, neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=8,
        head_hidden_size=4, depth_estimation_type=kind, max_depth=20 if kind == "metric" else 1,
        initializer_range=0.2,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():  # nearer than nothing, whatever is seen
        model.head.conv3.bias.fill_(5.0 if kind == "relative" else 0.0)
    return model


def depth_anything_pictures():
    from transformers import DPTImageProcessorPil

    return DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip


def vitpose(points: int = 17, experts: int = 1):
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(64, 48), patch_size=(16, 16), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2,
        num_experts=experts, part_features=4, out_indices=[2],
    )  # fmt: skip
    return VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=points, initializer_range=0.2))


def vitpose_pictures():
    from transformers import VitPoseImageProcessorPil

    return VitPoseImageProcessorPil(size={"height": 64, "width": 48})


def save_grounding_dino(folder: Path) -> Path:
    """A folder as the hub has it."""
    folder.mkdir()
    grounding_dino().save_pretrained(folder)
    bert_tokenizer(folder).save_pretrained(folder)
    grounding_dino_pictures().save_pretrained(folder)
    return folder
