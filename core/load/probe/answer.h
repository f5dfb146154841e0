#pragma once

namespace swage {

// Exit codes of swage-probe. None that a plugin would choose which ends the process.
inline constexpr int kProbeOpened = 83, kProbeRefused = 84;

}  // namespace swage
