#pragma once

// The version of each kind's C++ interface: what a component's manifest says of itself, what the
// macros of register.h state, and what a host takes. A number is raised where a virtual function of
// the kind's class is added, removed, moved or changed.
namespace swage {

inline constexpr char kModelInterface[] = "model/2";
inline constexpr char kAlgorithmInterface[] = "algorithm/2";
inline constexpr char kEvaluatorInterface[] = "evaluator/1";
inline constexpr char kExporterInterface[] = "exporter/2";
inline constexpr char kFormatInterface[] = "format/1";

inline constexpr const char* kInterfaces[] = {kModelInterface, kAlgorithmInterface,
                                              kEvaluatorInterface, kExporterInterface,
                                              kFormatInterface};

}  // namespace swage
