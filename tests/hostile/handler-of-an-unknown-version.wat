;; A handler of a contract that is not there yet. | refused: wasmill:handler/handler@9.0.0
(component (instance $handler) (export "wasmill:handler/handler@9.0.0" (instance $handler)))
