"""The authors' parameter names, system by system, as :class:`KeyMap` rules (read from their public code)."""

from __future__ import annotations

from parvis.weights.keys import KeyMap

_ROPE = ("freqs", "freqs_cos", "freqs_sin")

LLAMAGEN = KeyMap(
    rules=(
        ("cls_embedding.embedding_table.weight", "condition.table.weight"),
        ("cls_embedding.cap_proj.fc1.weight", "condition.fc1.weight"),
        ("cls_embedding.cap_proj.fc2.weight", "condition.fc2.weight"),
        ("cls_embedding.uncond_embedding", "condition.absent"),
        ("tok_embeddings.weight", "tokens.weight"),
        ("layers.{i}.attention.wqkv.weight", "blocks.{i}.attention.qkv.weight"),
        ("layers.{i}.attention.wo.weight", "blocks.{i}.attention.proj.weight"),
        ("layers.{i}.feed_forward.{leaf}.weight", "blocks.{i}.mlp.{leaf}.weight"),
        ("layers.{i}.attention_norm.weight", "blocks.{i}.norm1.weight"),
        ("layers.{i}.ffn_norm.weight", "blocks.{i}.norm2.weight"),
        ("norm.weight", "head.norm.weight"),
        ("output.weight", "head.out.weight"),
    ),
    drop=("freqs_cis",),
)

PAR = KeyMap(
    rules=(("spe_tok_embeddings.special_embeddings.weight", "fillers"), *LLAMAGEN.rules),
    drop=LLAMAGEN.drop,
)

NAR = KeyMap(
    rules=(
        ("norm.weight", "body.norms.0.weight"),
        ("output.weight", "head.out.weight"),
        ("medusa_norm.weight", "body.norms.1.weight"),
        ("medusa_output.weight", "head.more.0.weight"),
        *(rule for rule in LLAMAGEN.rules if rule[0] not in ("norm.weight", "output.weight")),
    ),
    drop=LLAMAGEN.drop,
)

RANDAR = KeyMap(
    rules=(("pos_instruct_embeddings", "query"), *LLAMAGEN.rules),
    drop=LLAMAGEN.drop,
    lead=(("pos_instruct_embeddings", 1),),
)

ARPG = KeyMap(
    rules=(
        ("embeddings.weight", "tokens.weight"),
        ("layers.self_dec.{i}.attn.to_{leaf}.weight", "blocks.{i}.attention.qkv.{leaf}.weight"),
        ("layers.self_dec.{i}.attn.proj.weight", "blocks.{i}.attention.proj.weight"),
        ("layers.self_dec.{i}.ffn.{leaf}.weight", "blocks.{i}.mlp.{leaf}.weight"),
        ("layers.self_dec.{i}.attn_norm.weight", "blocks.{i}.norm1.weight"),
        ("layers.self_dec.{i}.ffn_norm.weight", "blocks.{i}.norm2.weight"),
        ("layers.cross_dec.{i}.attn.to_q.weight", "body.blocks.{i}.q.weight"),
        ("layers.cross_dec.{i}.attn.proj.weight", "body.blocks.{i}.proj.weight"),
        ("layers.cross_dec.{i}.ffn.{leaf}.weight", "body.blocks.{i}.mlp.{leaf}.weight"),
        ("layers.cross_dec.{i}.attn_norm.weight", "body.blocks.{i}.norm1.weight"),
        ("layers.cross_dec.{i}.ffn_norm.weight", "body.blocks.{i}.norm2.weight"),
        ("layers.norm.weight", "body.norm.weight"),
        ("layers.to_k.weight", "body.k.weight"),
        ("layers.to_v.weight", "body.v.weight"),
        ("norm.weight", "head.norm.weight"),
        ("head.weight", "head.out.weight"),
    ),
)

LPD = KeyMap(
    rules=(
        ("class_emb.weight", "condition.table.weight"),
        ("fake_latent", "condition.absent"),
        ("token_emb.weight", "tokens.weight"),
        ("mask_token", "query"),
        ("pos_embed", "positions.table"),
        ("z_proj_ln.{leaf}", "norm_in.{leaf}"),
        ("blocks.{i}.attn.{part}.{leaf}", "blocks.{i}.attention.{part}.{leaf}"),
        ("blocks.{i}.mlp.{part}.{leaf}", "blocks.{i}.mlp.{part}.{leaf}"),
        ("blocks.{i}.norm1.{leaf}", "blocks.{i}.norm1.{leaf}"),
        ("blocks.{i}.norm2.{leaf}", "blocks.{i}.norm2.{leaf}"),
        ("norm.{leaf}", "head.norm.{leaf}"),
        ("head.weight", "head.out.weight"),
    ),
    lead=(("mask_token", 2), ("pos_embed", 1)),
)

VAR = KeyMap(
    rules=(
        ("class_emb.weight", "condition.table.weight"),
        ("pos_start", "condition.start"),
        ("pos_1LC", "positions.table"),
        ("lvl_embed.weight", "positions.level"),
        ("word_embed.{leaf}", "view.{leaf}"),
        ("blocks.{i}.attn.mat_qkv.weight", "blocks.{i}.attention.qkv.weight"),
        ("blocks.{i}.attn.proj.{leaf}", "blocks.{i}.attention.proj.{leaf}"),
        ("blocks.{i}.attn.scale_mul_1H11", "blocks.{i}.attention.log_scale"),
        ("blocks.{i}.attn.{leaf}", "blocks.{i}.attention.{leaf}"),
        ("blocks.{i}.ffn.{part}.{leaf}", "blocks.{i}.mlp.{part}.{leaf}"),
        ("blocks.{i}.ada_lin.1.{leaf}", "blocks.{i}.adapt.1.{leaf}"),
        ("blocks.{i}.ada_gss", "blocks.{i}.offset"),
        ("shared_ada_lin.1.{leaf}", "shared.1.{leaf}"),
        ("head_nm.ada_lin.1.{leaf}", "head.adapt.1.{leaf}"),
        ("head.{leaf}", "head.out.{leaf}"),
    ),
    drop=("lvl_1L", "attn_bias_for_masking", "blocks.{i}.attn.zero_k_bias"),
    lead=(("pos_1LC", 1),),
)

MAR = KeyMap(
    rules=(
        ("class_emb.weight", "condition.table.weight"),
        ("fake_latent", "condition.absent"),
        ("z_proj.{leaf}", "tokens.{leaf}"),
        ("z_proj_ln.{leaf}", "norm_in.{leaf}"),
        ("encoder_pos_embed_learned", "positions.table"),
        ("encoder_blocks.{i}.attn.{part}.{leaf}", "encoder.{i}.attention.{part}.{leaf}"),
        ("encoder_blocks.{i}.{part}.{path}", "encoder.{i}.{part}.{path}"),
        ("encoder_norm.{leaf}", "norm_encoder.{leaf}"),
        ("decoder_embed.{leaf}", "bridge.{leaf}"),
        ("mask_token", "query"),
        ("decoder_pos_embed_learned", "positions_decoder.table"),
        ("decoder_blocks.{i}.attn.{part}.{leaf}", "decoder.{i}.attention.{part}.{leaf}"),
        ("decoder_blocks.{i}.{part}.{path}", "decoder.{i}.{part}.{path}"),
        ("decoder_norm.{leaf}", "norm_decoder.{leaf}"),
        ("diffusion_pos_embed_learned", "positions_head"),
        ("diffloss.net.time_embed.mlp.{path}", "head.time.{path}"),
        ("diffloss.net.cond_embed.{leaf}", "head.cond.{leaf}"),
        ("diffloss.net.input_proj.{leaf}", "head.input.{leaf}"),
        ("diffloss.net.res_blocks.{i}.in_ln.{leaf}", "head.blocks.{i}.norm.{leaf}"),
        ("diffloss.net.res_blocks.{i}.mlp.{path}", "head.blocks.{i}.mlp.{path}"),
        ("diffloss.net.res_blocks.{i}.adaLN_modulation.1.{leaf}", "head.blocks.{i}.adapt.1.{leaf}"),
        ("diffloss.net.final_layer.adaLN_modulation.1.{leaf}", "head.adapt.1.{leaf}"),
        ("diffloss.net.final_layer.linear.{leaf}", "head.out.{leaf}"),
    ),
    lead=(
        ("encoder_pos_embed_learned", 1),
        ("mask_token", 2),
        ("decoder_pos_embed_learned", 1),
        ("diffusion_pos_embed_learned", 1),
    ),
)

XAR = KeyMap(
    rules=(
        ("class_emb.weight", "condition.table.weight"),
        ("time_embed.mlp.{path}", "time.{path}"),
        ("z_proj.{leaf}", "tokens.{leaf}"),
        ("z_proj_ln.weight", "norm_in.weight"),
        ("encoder_pos_embed_learned", "positions.table"),
        ("encoder_blocks.{i}.attn.{part}.{leaf}", "encoder.{i}.attention.{part}.{leaf}"),
        ("encoder_blocks.{i}.ada_lin.1.{leaf}", "encoder.{i}.adapt.1.{leaf}"),
        ("encoder_blocks.{i}.mlp.{part}.{leaf}", "encoder.{i}.mlp.{part}.{leaf}"),
        ("encoder_norm.weight", "norm_encoder.weight"),
        ("decoder_embed.{leaf}", "bridge.{leaf}"),
        ("decoder_pos_embed_learned", "positions_decoder.table"),
        ("decoder_blocks.{i}.attn.{part}.{leaf}", "decoder.{i}.attention.{part}.{leaf}"),
        ("decoder_blocks.{i}.ada_lin.1.{leaf}", "decoder.{i}.adapt.1.{leaf}"),
        ("decoder_blocks.{i}.mlp.{part}.{leaf}", "decoder.{i}.mlp.{part}.{leaf}"),
        ("decoder_norm.weight", "norm_decoder.weight"),
        ("pred.{leaf}", "out.{leaf}"),
    ),
    drop=(
        "mask",
        *(f"{stack}_blocks.{{i}}.attn.rope.{name}" for stack in ("encoder", "decoder") for name in _ROPE),
    ),
    lead=(("encoder_pos_embed_learned", 1), ("decoder_pos_embed_learned", 1)),
)

VQ16 = KeyMap(rules=(("{path}", "{path}"),), drop=("quantize.codebook_used",))
"""VQ-16 and VQ-8 keep their public names."""

VAR_VQ = KeyMap(rules=(("{path}", "{path}"),), drop=("quantize.ema_vocab_hit_SV",))
"""VAR's tokenizer keeps its public names."""

KL16 = KeyMap(rules=(("{path}", "{path}"),), drop=("loss.{path}",))
"""KL-16 keeps its public names; a checkpoint may also hold the weights of its training loss."""

VAR_QUANTIZER = KeyMap(rules=(("quantize.{path}", "{path}"),), drop=VAR_VQ.drop)
"""The quantizer alone: what VAR's transformer needs of its tokenizer."""
