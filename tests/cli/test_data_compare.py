"""``mmcl-bench data compare`` as people and programs use it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from cli.typing_in import Said, type_in
