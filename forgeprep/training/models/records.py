"""The records of forgeprep's own forgery models; imports no network, so that they are listed at once."""

from __future__ import annotations

from forgeprep.training.models.record import ModelRecord, Weights

_HERE = "forgeprep.training.models"
_RECIPES = "forgeprep.training:recipes"
_PUBLISHED = "forgeprep.training:published.yaml"
_XCEPTION = "ImageNet weights of timm's legacy_xception, e.g. from huggingface.co/timm/legacy_xception.tf_in1k"

_SLOWFAST = "SlowFast Networks, 2019; the recipe is ours"

_BACKBONES = {
    "xce": Weights("net.0", _XCEPTION, "xception"),
    "vgg": Weights("net", "ImageNet weights of torchvision's vgg16 (or timm's vgg16.tv_in1k)", "vgg16"),
}


def _pixel(net: str, task: str, parameters: int) -> ModelRecord:
    """A net of "Zooming into Face Forensics" that learns the mask (``seg``) or the label (``cls``)."""
    meso = (net, task) == ("mesoinception4", "cls")
    return ModelRecord(
        f"{net}-{task}",
        f"{_HERE}.pixel:{'make_meso_classifier' if meso else 'make'}",
        256,
        f"{_RECIPES}/{'pixel-level' if task == 'seg' else 'pixel-level-cls'}.yaml",
        "Zooming into Face Forensics: A Pixel-level Analysis, 2019",
        # `target` is an option of seg alone.
        arguments=() if meso else (net, task) if task == "seg" else (net, task, "mask"),
        weights=_BACKBONES.get(net[:3]),
        published=_PUBLISHED,
        parameters=parameters,
    )


def _unet(net: str, parameters: int) -> ModelRecord:
    """A U-Net with a map and a verdict."""
    return ModelRecord(
        f"{net}-both",
        f"{_HERE}.pixel:TwoHeads",
        256,
        f"{_RECIPES}/unet-both.yaml",
        "ForgeryNet, 2021 (a U-Net with both heads); the recipe is ours",
        arguments=(net,),
        n_way=True,
        parameters=parameters,
    )


def _frequency(name: str, make: str, source: str, trunks: str, parameters: int, *, size: int = 299) -> ModelRecord:
    """A model that looks at frequencies, with an Xception or two."""
    return ModelRecord(
        name,
        f"{_HERE}.{make}",
        size,
        f"{_RECIPES}/{name}.yaml",
        source,
        weights=Weights(trunks, _XCEPTION, "xception"),
        n_way=True,
        parameters=parameters,
    )


BMN = ModelRecord(
    "bmn",
    f"{_HERE}.bmn:Bmn",
    0,
    f"{_RECIPES}/bmn.yaml",
    "BMN: Boundary-Matching Network, 2019, as ForgeryNet uses it",
    takes="features",
    parameters=4_978_564,
)
CAEL = ModelRecord(
    "cael",
    f"{_HERE}.cael:Cael",
    224,
    f"{_RECIPES}/cael.yaml",
    "GenFace, 2024; no recipe published",
    weights=Weights(
        "fine,coarse",
        "ImageNet weights of EfficientNet-B0: torchvision's, timm's, efficientnet-pytorch's or google/efficientnet-b0",
        "efficientnet_b0",
    ),
    n_way=True,
    levels=True,
    fixed=True,
    parameters=162_620_700,
)
F3NET = _frequency("f3net", "f3net:F3Net", "Thinking in Frequency, 2020", "trunks.fad,trunks.lfs", 45_531_863)
FN3_CLS = _pixel("fn3", "cls", 210_945)
FN3_SEG = _pixel("fn3", "seg", 210_945)
FOUNDATION_VIT = ModelRecord(
    "foundation-vit",
    f"{_HERE}.foundation:FoundationViT",
    224,
    f"{_RECIPES}/foundation.yaml",
    "a ViT of CLIP or DINO, tuned by its normalisations or LoRA; the recipe is ours",
    n_way=True,
    parameters=103_425,
)
LOCAL_SIMILARITY = ModelRecord(
    "local-similarity",
    f"{_HERE}.local_similarity:LocalSimilarity",
    224,
    f"{_RECIPES}/local-similarity.yaml",
    "Learnable Local Similarity for Face Forgery Detection and Localization",
    weights=Weights("encoder", _XCEPTION, "xception"),
    published=_PUBLISHED,
    parameters=44_122_587,
)
MESO4 = ModelRecord(
    "meso4",
    f"{_HERE}.meso:make_meso4",
    256,
    f"{_RECIPES}/meso4.yaml",
    "MesoNet, 2018 (Meso-4)",
    parameters=27_977,
)
MESO_CLS = _pixel("mesoinception4", "cls", 12_215)
MESO_SEG = _pixel("mesoinception4", "seg", 12_215)
RESNET50 = ModelRecord(
    "resnet50",
    f"{_HERE}.baselines:make_resnet50",
    224,
    f"{_RECIPES}/resnet50.yaml",
    "Deep Residual Learning, 2016, a baseline; the recipe is ours",
    weights=Weights("trunk", "ImageNet weights of ResNet-50: torchvision's, timm's or microsoft/resnet-50", "resnet50"),
    n_way=True,
    parameters=23_510_081,
)
SLOWFAST_FORGERYNET = ModelRecord(
    "slowfast-forgerynet",
    f"{_HERE}.slowfast:make_forgerynet",
    224,
    f"{_RECIPES}/slowfast.yaml",
    _SLOWFAST,
    takes="sequence",
    weights=Weights("", "Kinetics weights of SlowFast R50 4x16, PySlowFast's", "slowfast_r50"),
    n_way=True,
    parameters=33_559_593,
)
SLOWFAST_R50 = ModelRecord(
    "slowfast-r50",
    f"{_HERE}.slowfast:SlowFast",
    224,
    f"{_RECIPES}/slowfast.yaml",
    _SLOWFAST,
    takes="sequence",
    weights=Weights("", "Kinetics weights of SlowFast R50 8x8, PySlowFast's or PyTorchVideo's", "slowfast_r50"),
    n_way=True,
    parameters=33_646_793,
)
SPSL = _frequency(
    "spsl", "spsl:Spsl", "Spatial-Phase Shallow Learning, 2021; the recipe is that of DeepfakeBench", "trunk", 7_897_481
)
SRM = _frequency(
    "srm",
    "srm:HighFrequency",
    "Generalizing Face Forgery Detection with High-frequency Features, 2021; the recipe is that of DeepfakeBench",
    "picture,residual",
    54_557_380,
    size=256,
)
TWO_STREAM = ModelRecord(
    "two-stream",
    f"{_HERE}.two_stream:TwoStream",
    299,
    f"{_RECIPES}/two-stream.yaml",
    "Detect and Locate",
    weights=Weights("trunk", _XCEPTION, "xception"),
    published=_PUBLISHED,
    n_way=True,
    fixed=True,
    parameters=21_486_450,
)
UNET4X_BOTH = _unet("unet4x", 1_864_386)
UNET4X_CLS = _pixel("unet4x", "cls", 1_864_129)
UNET4X_SEG = _pixel("unet4x", "seg", 1_864_129)
UNET8X_BOTH = _unet("unet8x", 7_700_674)
UNET8X_CLS = _pixel("unet8x", "cls", 7_700_161)
UNET8X_SEG = _pixel("unet8x", "seg", 7_700_161)
VGG3_CLS = _pixel("vgg3", "cls", 38_785)
VGG3_SEG = _pixel("vgg3", "seg", 38_785)
VGG5_CLS = _pixel("vgg5", "cls", 260_289)
VGG5_SEG = _pixel("vgg5", "seg", 260_289)
VGG8_CLS = _pixel("vgg8", "cls", 1_735_745)
VGG8_SEG = _pixel("vgg8", "seg", 1_735_745)
XCEPTION = ModelRecord(
    "xception",
    f"{_HERE}.baselines:make_xception",
    299,
    f"{_RECIPES}/xception.yaml",
    'Xception, 2017, whole, the baseline of "Detect and Locate"',
    weights=Weights("trunk", _XCEPTION, "xception"),
    n_way=True,
    parameters=20_809_001,
)
XCEPTION_CLS = _pixel("xception", "cls", 20_809_001)
XCEPTION_LEVELS = ModelRecord(
    "xception-levels",
    f"{_HERE}.levels:Levels",
    299,
    f"{_RECIPES}/forgerynet.yaml",
    "ForgeryNet, 2021 (its image baseline), with the levels of GenFace, 2024; the recipe is ours",
    weights=Weights("trunk", _XCEPTION, "xception"),
    levels=True,
    parameters=20_823_344,
)
XCEPTION_SEG = _pixel("xception", "seg", 20_809_001)
