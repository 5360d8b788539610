"""Networks as people use them, for ``real_models.py``: transformers, U-Net, ResNet, graphs, changed weights."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune


def mlp(change=lambda layer: layer, into: int = 784, width: int = 512, classes: int = 10) -> nn.Module:
    """Three hidden layers; ``change`` is done to each dense layer."""
    sizes = [into, width, width, width]
    hidden = [m for a, b in itertools.pairwise(sizes) for m in (change(nn.Linear(a, b)), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, classes))


def pruned(layer: nn.Linear) -> nn.Linear:
    """Four fifths of the weights are zero."""
    return prune.random_unstructured(layer, "weight", amount=0.8)


def weight_normed(layer: nn.Linear) -> nn.Linear:
    """Direction and length of each row apart."""
    return parametrizations.weight_norm(layer)


class LoRA(nn.Module):
    """A frozen dense layer and a trained one of rank 8, added before they are applied."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(8, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.randn(layer.out_features, 8) / 8**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[n, in] to [n, out]."""
        return F.linear(x, self.base.weight + self.b @ self.a, self.base.bias)


class RMSNorm(nn.Module):
    """As in Llama: statistics in float32."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d]."""
        given, x = x.dtype, x.float()
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(given)


def rms_mlp() -> nn.Module:
    """Dense layers with such norms between them."""
    layers = [m for d in (64, 256, 256) for m in (nn.Linear(d, 256), RMSNorm(256), nn.SiLU())]
    return nn.Sequential(*layers, nn.Linear(256, 10))


class Block(nn.Module):
    """Pre-norm attention and two dense layers."""

    def __init__(self, d: int, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[n, T, d] to [n, T, d]."""
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Patches of 4 × 4 of 32 × 32 images, a class token."""

    def __init__(self, d: int = 128, layers: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, d, 4, 4)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, d)), nn.Parameter(0.02 * torch.randn(1, 65, d))
        self.blocks = nn.ModuleList(Block(d) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, 32, 32] to [n, classes]."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Bert(nn.Module):
    """Ids, mask and types in, logits of classes out."""

    def __init__(self, d: int = 128, layers: int = 2, words: int = 2000, classes: int = 10) -> None:
        super().__init__()
        self.tok, self.pos, self.kind = nn.Embedding(words, d), nn.Embedding(64, d), nn.Embedding(2, d)
        self.norm, self.blocks = nn.LayerNorm(d), nn.ModuleList(Block(d) for _ in range(layers))
        self.pooler, self.head = nn.Linear(d, d), nn.Linear(d, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """[n, T] to [n, classes]."""
        place = self.pos(torch.arange(input_ids.shape[1], device=input_ids.device))
        h = self.norm(self.tok(input_ids) + place + self.kind(token_type_ids))
        for block in self.blocks:
            h = block(h, attention_mask.bool()[:, None, None])
        return self.head(torch.tanh(self.pooler(h[:, 0])))


class GPT(nn.Module):
    """Causal blocks, and logits of the last token from the table of words."""

    def __init__(self, d: int = 64, layers: int = 2, words: int = 1000) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, d), nn.Embedding(64, d)
        self.blocks, self.norm = nn.ModuleList(Block(d, causal=True) for _ in range(layers)), nn.LayerNorm(d)

    def forward(self, ids: Tensor) -> Tensor:
        """[n, T] to [n, words]."""
        h = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h)[:, -1], self.wte.weight)


class Positions(nn.Module):
    """Words and learned positions, one dense layer, logits of words."""

    def __init__(self, words: int = 300, d: int = 32, longest: int = 512) -> None:
        super().__init__()
        self.tok, self.pos = nn.Embedding(words, d), nn.Embedding(longest, d)
        self.hidden, self.out = nn.Linear(d, d), nn.Linear(d, words)

    def forward(self, ids: Tensor) -> Tensor:
        """[n, T] to [n, words]."""
        h = self.tok(ids) + self.pos(torch.arange(ids.shape[1], device=ids.device))
        return self.out(torch.tanh(self.hidden(h)).mean(1))


class UNet(nn.Module):
    """Two resolutions; one output a pixel."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, c, 3, padding=1), nn.Conv2d(c, 2 * c, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.join, self.out = nn.Conv2d(2 * c, c, 3, padding=1), nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 1, h, w] to [n, h·w]."""
        one = torch.relu(self.down1(x))
        two = torch.relu(self.down2(F.max_pool2d(one, 2)))
        return self.out(torch.relu(self.join(torch.cat([self.up(two), one], 1)))).flatten(1)


def dense_outputs() -> nn.Module:
    """One output a pixel; the last bias is shared by all of them."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Flatten())


class BasicBlock(nn.Module):
    """Two convolutions with BatchNorm and a shortcut."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.skip = nn.Sequential()
        if stride != 1 or cin != cout:
            self.skip = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        """[n, cin, h, w] to [n, cout, h / stride, w / stride]."""
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.skip(x))


def resnet18(classes: int = 10) -> nn.Module:
    """For 32 × 32 images (He et al. 2016), in evaluation mode; 11 million parameters."""
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    cin = 64
    for cout, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(cin, cout, stride), BasicBlock(cout, cout, 1)]
        cin = cout
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)).eval()


class Recurrent(nn.Module):
    """A layer of LSTM over words, read at the end."""

    def __init__(self, words: int = 500, d: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.tok, self.rnn, self.out = (
            nn.Embedding(words, d),
            nn.LSTM(d, d, batch_first=True),
            nn.Linear(d, classes),
        )

    def forward(self, ids: Tensor) -> Tensor:
        """[n, T] to [n, classes]."""
        return self.out(self.rnn(self.tok(ids))[0][:, -1])


class Graph(nn.Module):
    """Two rounds of messages along edges that all examples share."""

    def __init__(self, nodes: int = 30, edges: int = 120, d: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.a, self.message, self.out = nn.Linear(16, d), nn.Linear(2 * d, d), nn.Linear(d, classes)
        self.again = nn.Linear(2 * d, d)
        self.register_buffer("edges", torch.randint(nodes, (2, edges)))

    def forward(self, x: Tensor) -> Tensor:
        """[n, nodes, 16] to [n, classes]."""
        source, target = self.edges
        h = self.a(x)
        for layer in (self.message, self.again):
            sent = torch.relu(layer(torch.cat([h[:, source], h[:, target]], -1)))
            h = torch.tanh(h + torch.zeros_like(h).index_add(1, target, sent))
        return self.out(h.mean(1))
