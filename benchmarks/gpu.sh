#!/bin/bash
# The GPU engine on a machine where nothing can be installed: checks it against the CPU's and times
# both, without meson or Python's packages. First where there are nvcc and gfortran, then on the GPU:
#
#     benchmarks/gpu.sh build DIR               # compiles into DIR, which may be carried
#     benchmarks/gpu.sh run DIR OUTPUT.json     # compiles what DIR lacks, checks, times
#     benchmarks/gpu.sh tune DIR OUTPUT.txt     # other numbers of blocks and divisions; needs nvcc
#     benchmarks/gpu.sh simulate DIR OUTPUT.json      # all of it with a GPU that is simulated
#
# Needs g++, nvcc, and nlohmann/json.hpp where DIR has no libm7emu. GPU_TARGET (90) is the compute
# capability, MOST (10000000) the most cells, MODELS the shipped models to run.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-} dir=${2:-} output=${3:-}
target=${GPU_TARGET:-90} most=${MOST:-10000000} models=${MODELS:-accurate converged learned first}
[[ $what =~ ^(build|run|tune|simulate)$ && -n $dir && ( $what = build || -n $output ) ]] ||
  { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
engine=$root/bridge/engine gpu=$root/bridge/gpu
version=$(sed -n "/^ *version: '/{s/^ *version: '\(.*\)',/\1/p;q}" "$root/meson.build")
cxx="g++ -std=c++17 -O3 -fPIC -fvisibility=hidden -fno-math-errno -ffp-contract=off -w -DM7EMU_VERSION=\"$version\""
forms="exact:0 narrow:64 wide:256 tensor_narrow:64 tensor_wide:256"
of_form() { # flags of step.cpp for a form
  local name=${1%:*}
  echo "-DM7EMU_SET=gpu_$name -DM7EMU_FORM=${name}_form -DM7EMU_WIDEST=${1#*:}"
  [[ $name != tensor_* ]] || echo -DM7EMU_TENSOR
}

cpu_library() { # libm7emu, in three sets of instructions
  [ -e "$dir/libm7emu.so.1" ] && return
  $cxx -c "$engine/set.cpp" -o "$dir/portable.o" &
  local avx2="-mavx2 -mfma" avx512="-mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma" set file
  for set in avx2 avx512; do
    $cxx ${!set} -c "$engine/set.cpp" -o "$dir/$set.o" &
    $cxx ${!set} -DM7EMU_NARROW=$set -c "$engine/set.cpp" -o "$dir/${set}_wide.o" &
  done
  for file in engines m7emu model; do
    $cxx -DM7EMU_HAVE_AVX2 -DM7EMU_HAVE_AVX512 -c "$engine/$file.cpp" -o "$dir/$file.o" &
  done
  all
  g++ -shared -static-libstdc++ -static-libgcc -Wl,-soname,libm7emu.so.1 \
    "-Wl,--version-script=$root/bridge/m7emu.map" "$dir"/{portable,avx2,avx2_wide,avx512,avx512_wide,engines,m7emu,model}.o \
    -ldl -o "$dir/libm7emu.so.1"
}

all() { # wait for what runs behind; any failure is one
  local job
  for job in $(jobs -p); do wait "$job"; done
}

cuda_library() { # cuda_library NAME BLOCKS OPTION...: libm7emu_cuda
  [ -e "$dir/$1/libm7emu_cuda.so.1" ] && return
  local to=$dir/$1 blocks=$2 form
  shift 2
  mkdir -p "$to"
  local nvcc="nvcc -std=c++17 -O3 -Xcompiler=-fPIC,-fvisibility=hidden -DM7EMU_VERSION=\"$version\""
  for form in $forms; do
    # shellcheck disable=SC2046 # one word a flag
    $nvcc -x cu "-gencode=arch=compute_$target,code=[sm_$target,compute_$target]" "$@" -Xptxas=-v \
      "-DM7EMU_BLOCKS_AT_ONCE=$blocks" $(of_form "$form") -c "$gpu/step.cpp" -o "$to/${form%:*}.o" 2>"$to/${form%:*}.ptxas" &
  done
  $nvcc -c "$gpu/engine.cpp" -o "$to/engine.o" &
  all
  nvcc -shared -cudart=static -Xlinker=-soname=libm7emu_cuda.so.1 "$to"/*.o -o "$to/libm7emu_cuda.so.1"
}
fast=(-prec-div=false -prec-sqrt=false -ftz=true)

program() { # the one that checks and times
  [ -e "$dir/gpu" ] ||
    nvcc -std=c++17 -O2 -Xcompiler=-w -cudart=static "-I$root/bridge/include" "$root/benchmarks/gpu.cpp" \
      "$dir/libm7emu.so.1" -ldl -Xlinker=-rpath='$ORIGIN' -o "$dir/gpu"
}

reference() { # M7 itself, without a library that the other machine may lack
  [ -e "$dir/reference" ] || ! command -v gfortran >/dev/null && return
  mkdir -p "$dir/modules"
  local order="kinds math modes split kappa kazil_lovejoy config nucleation \
number water ageing coagulation condensation merging properties transfer step"
  gcc -O2 -w "-I$root/bridge/include" -c "$root/benchmarks/gpu_cells.c" -o "$dir/cells.o"
  # shellcheck disable=SC2046 # one word a file
  gfortran -O3 "-march=${REFERENCE_MARCH:-x86-64-v3}" -fno-math-errno -fno-trapping-math -ffp-contract=off \
    -frecursive -static -J"$dir/modules" $(for part in $order; do echo "$root/fortran/m7/m7_$part.f90"; done) \
    "$root/benchmarks/gpu_reference.f90" "$dir/cells.o" -o "$dir/reference"
}

simulated() { # the GPU engine with a simulated GPU, and the program that times
  [ -e "$dir/gpu" ] && return
  local form sim="${cxx/-fvisibility=hidden/} -DM7EMU_SIMULATED -DM7EMU_SCALAR -DM7EMU_BLOCKS_AT_ONCE=1"
  mkdir -p "$dir/simulated"
  for form in $forms; do
    # shellcheck disable=SC2046
    $sim $(of_form "$form") -c "$gpu/step.cpp" -o "$dir/simulated/${form%:*}.o" &
  done
  $sim -c "$gpu/engine.cpp" -o "$dir/simulated/engine.o" &
  all
  g++ -shared -Wl,-soname,libm7emu_cuda.so.1 "$dir"/simulated/*.o -o "$dir/libm7emu_cuda.so.1"
  $sim -rdynamic -Wl,--no-as-needed "-I$root/bridge/include" "$root/benchmarks/gpu.cpp" "$dir/libm7emu.so.1" \
    "$dir/libm7emu_cuda.so.1" \
    -Wl,-rpath,'$ORIGIN' -pthread -o "$dir/gpu"
}

rows_of_reference() { # "one core" and "all cores" as JSON rows
  [ -x "$dir/reference" ] && "$dir/reference" 0.1 >/dev/null 2>&1 || return 0
  local count rate
  for count in 1 "$(nproc)"; do
    rate=$(for ((i = 0; i < count; i++)); do "$dir/reference" 5 & done | awk '{s += $1} END {print s}')
    echo "{\"model\": \"M7 (reference ham2)\", \"engine\": \"gfortran\",
 \"state\": \"float64\", \"how\": \"$count cores\", \"cells\": 4096,
 \"cells per s\": $rate, \"ns per cell\": $(awk "BEGIN {print 1e9/$rate}"), \"of the roofline\": \"\", \"nJ per cell\": \"\"},"
  done
}

timed() { # timed JSON: run the program, add what the machine and the reference are
  local path=()
  for model in $models; do path+=("$root/pyemu/models/$model.safetensors"); done
  local status=0
  "$dir/gpu" "$1.part" "$most" "${path[@]}" || status=$?
  [ -s "$1.part" ] || exit "$status"
  local name="none: simulated" driver=none
  if [ "$what" != simulate ]; then
    name=$(nvidia-smi -i 0 --query-gpu=name --format=csv,noheader)
    driver=$(nvidia-smi -i 0 --query-gpu=driver_version --format=csv,noheader)
  fi
  {
    echo "{\"GPU\": \"$name\", \"driver\": \"$driver\", \"date\": \"$(date -u +%F)\", \"commit\": \"$(
      git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)\","
    echo " \"CPU\": \"$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo)\","
    sed '1s/^{//; /^"rows": \[/q' "$1.part"
    rows_of_reference
    sed '1,/^"rows": \[/d' "$1.part"
  } >"$1.new"
  mv "$1.new" "$1"
  rm "$1.part"
  return "$status"
}

case $what in
build) cpu_library; cuda_library . 3 "${fast[@]}"; program; reference ;;
run) cpu_library; cuda_library . 3 "${fast[@]}"; program; reference; timed "$output" ;;
simulate) cpu_library; simulated; timed "$output" ;;
tune)
  cpu_library; program
  for blocks in 1 2 3 4 5; do cuda_library "tune$blocks" $blocks "${fast[@]}"; done
  cuda_library tune3precise 3
  : >"$output"
  for variant in tune1 tune2 tune3 tune4 tune5 tune3precise; do
    cp "$dir/$variant/libm7emu_cuda.so.1" "$dir/"
    for model in $models; do
      "$dir/gpu" "$dir/tuned.json" 1000000 "$root/pyemu/models/$model.safetensors" 2>/dev/null || true
      sed -n "/on the device/s/^/$variant /p" "$dir/tuned.json" | tee -a "$output"
    done
  done
  rm "$dir/libm7emu_cuda.so.1" ;;
esac
