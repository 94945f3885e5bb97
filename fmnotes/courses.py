"""Ways through the notebooks: what ``make run COURSE=practical`` executes, and in which order.

A course names lessons that are still to come as well; it is run as far as it exists. The guide's README says what the
lessons are about.
"""

from __future__ import annotations

from pathlib import Path

from fmnotes import ROOT
from fmnotes.run import QUICK, RunError, available, profile_parameters

NUMBERED = ("01_bpe", "02_gpt2", "02b_training", "02c_scaling", "03_clip", "04_connector", "05_rag", "06_integration")
GUIDE = (
    *("guide/01_paradigm", "guide/02_scaling_laws", "guide/03_emergence"),
    *("guide/04_objectives", "guide/05_data", "guide/06_infrastructure", "guide/07_tokenizers"),
    *("guide/08_llama", "guide/09_moe", "guide/10_long_context", "guide/11_small_models"),
    *("guide/12_self_supervision", "guide/13_segmentation", "guide/14_unified_vision", "guide/15_generation"),
    *("guide/16_grounding", "guide/17_many_pictures", "guide/18_sound_and_video"),
    *("guide/19_peft", "guide/20_alignment", "guide/21_continued_training"),
    *("guide/22_inference", "guide/23_advanced_rag", "guide/24_evaluation"),
    "guide/25_reasoning",
)
COURSES = {
    "practical": (
        *("01_bpe", "02_gpt2", "guide/08_llama", "guide/19_peft", "guide/20_alignment", "05_rag"),
        *("guide/23_advanced_rag", "guide/22_inference", "guide/24_evaluation"),
    ),
    "vision": (
        *("02_gpt2", "03_clip", "guide/12_self_supervision", "guide/13_segmentation", "guide/14_unified_vision"),
        "guide/15_generation",
    ),
    "multimodal": (
        *("01_bpe", "02_gpt2", "03_clip", "04_connector", "guide/16_grounding", "guide/17_many_pictures"),
        *("guide/18_sound_and_video", "05_rag", "06_integration"),
    ),
    "complete": (*NUMBERED, *GUIDE),
}


def course(name: str, profile: str = QUICK, root: Path = ROOT) -> list[str]:
    """The notebooks of a course that exist and have the profile, in the course's order.

    Raises:
        RunError: if there is no such course or profile, or none of its notebooks is there.
    """
    if name not in COURSES:
        raise RunError(f"There is no course {name!r}. There are: {', '.join(COURSES)}.")
    there, having = available(root), profile_parameters(profile, root)
    if found := [notebook for notebook in COURSES[name] if notebook in there and notebook in having]:
        return found
    raise RunError(f"Nothing of the course {name!r} is there yet in the profile {profile!r}.")
