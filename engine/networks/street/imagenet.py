"""ImageNet weights of ResNet and VGG16 in torchvision's names: a backbone, and no encoder by itself."""

from __future__ import annotations

from engine.networks.releases import Found, Preprocessing, Release, Shapes, register_release
from engine.networks.street.published import found, preprocessing, resnet_of, starting, vgg_of

SIZE = (480, 640)


def _recognise(shapes: Shapes) -> Found | None:
    if resnet_of(shapes) is None and vgg_of(starting(shapes, "features.")) is None:
        return None
    return found("vg-benchmark", "a backbone of ImageNet", SIZE, {})


def _preprocess(recognised: Found) -> Preprocessing:
    return preprocessing(recognised, data="ImageNet", licence="As its publisher says")


register_release(
    Release(
        project="ResNet or VGG16 alone (torchvision)",
        expects="conv1.weight, layer1.*; or features.0.weight ... features.28.weight",
        recognise=_recognise,
        preprocess=_preprocess,
        part="the aggregation is missing: weights that were trained to name objects give no descriptor of a place. "
        "They can start a training",
    )
)
