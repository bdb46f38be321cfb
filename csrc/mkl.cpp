// MKL, which torch multiplies with on x86, asks this function whether it runs on its own maker's
// processor, and takes slower kernels where it does not. It is found in place of MKL's own only
// where this module was loaded for all to see before torch (asnn_goose/mkl.py).
extern "C" __attribute__((visibility("default"))) int mkl_serv_intel_cpu_true();

int mkl_serv_intel_cpu_true() { return 1; }
