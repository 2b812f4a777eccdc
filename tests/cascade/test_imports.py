import subprocess
import sys


def test_importing_the_package_loads_neither_torch_nor_lightgbm_nor_sklearn() -> None:
    heavy = "{'torch', 'lightgbm', 'sklearn'}"
    code = f"import sys, cascade; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
