"""What models of transformers show: weights, logits, and the tokens that they go on with."""
import torch


def weights(model):
    return {name: value.detach().float().numpy() for name, value in model.state_dict().items() if value.is_floating_point()}


@torch.no_grad()
def logits(model, ids):
    return [model(torch.as_tensor(window)[None]).logits[0].float() for window in ids]


def greedy(model):
    """What Table.greedy asks for."""
    @torch.no_grad()
    def generate(prompt, steps):
        model.generation_config.eos_token_id = None  # it goes on after an end
        start = torch.as_tensor(prompt)[None]
        tokens = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=steps, do_sample=False, pad_token_id=0)
        return tokens[0, len(prompt):].tolist()
    return generate
