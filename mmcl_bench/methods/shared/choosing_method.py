"""Methods that choose on held-out source clips, or by a label-free score where they are granted target clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.evaluation.choosing import SOURCE, ChosenBy
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared.feature_method import FeatureSettings


class ChoosingSettings(FeatureSettings):
    """What the first fit chooses by."""

    choose_by: ChosenBy = SOURCE
    """The figure on held-out source clips, or a label-free score of the unlabelled target training clips."""


class ChoosingMethod(Method):
    """Refuses a label-free score where its setting grants no target clips to a fit."""

    Settings: ClassVar[type[ChoosingSettings]] = ChoosingSettings
    settings: ChoosingSettings

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> MethodSettings:
        checked = super().check(settings)
        by = cast(ChoosingSettings, checked).choose_by
        if by != SOURCE and cls.setting is not Setting.UNLABELLED:
            raise UserError(
                f"method {cls.name}: setting choose_by={by}: a label-free score needs unlabelled target clips, and a "
                f"method of setting {cls.setting} sees none when it chooses; leave it at {SOURCE}"
            )
        return checked
