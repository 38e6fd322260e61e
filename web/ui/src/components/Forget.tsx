// Forgetting what is gone for good. Of what would come straight back, it says where
// to remove it in place of the button.
import { useState } from 'preact/hooks';
import { discovery, forgetMachine, forgetTarget, machine as fetchMachine } from '../api/clanmon';
import type { Machine } from '../api/types/machines';
import { cannotForget } from '../lib/forget';
import { refresh } from '../state/clock';
import { useData } from '../state/data';
import { go, href } from '../state/location';
import { toast } from '../state/toast';
import { ChangeButton } from './Who';

function Forget({ what, run, done }: { what: string; run: () => Promise<unknown>; done: () => void }) {
  const [step, setStep] = useState<'' | 'sure' | 'busy'>('');
  const [error, setError] = useState('');
  const click = async () => {
    if (step === '') return setStep('sure');
    setStep('busy');
    try {
      await run();
      toast('Forgotten');
      done();
      refresh();
    } catch (e) {
      setError((e as Error).message);
      setStep('');
    }
  };
  return (
    <>
      <ChangeButton
        type="button"
        class="btn"
        disabled={step === 'busy'}
        title="Stop scraping it and remove it from the list. Stored samples stay."
        onClick={() => void click()}
      >
        {step ? 'Forget now?' : `Forget ${what}`}
      </ChangeButton>
      {error && (
        <span class="status crit wrap" role="alert">
          {error}
        </span>
      )}
    </>
  );
}

// useRefusal is why it cannot be forgotten, '' if it can, undefined until that is known.
function useRefusal(m: Machine | null | undefined, only?: { job: string; instance: string }): string | undefined {
  const found = useData('discovery', discovery, 60);
  if (!m || (!found.data && !found.error)) return undefined;
  return cannotForget(m, found.data?.methods, only);
}

export function ForgetMachine({ machine }: { machine: Machine }) {
  const refusal = useRefusal(machine);
  if (refusal) return <span class="dim wrap">{refusal}</span>;
  if (refusal === undefined) return null;
  return <Forget what="machine" run={() => forgetMachine(machine.machine)} done={() => go(href('/'))} />;
}

export function ForgetTarget({
  machine,
  job,
  instance,
  done,
}: Record<'machine' | 'job' | 'instance', string> & { done: () => void }) {
  const asked = useData(`machine ${machine}`, (s) => fetchMachine(machine, s));
  const refusal = useRefusal(asked.data, { job, instance });
  if (refusal) return <span class="dim wrap">{refusal}</span>;
  if (refusal === undefined) return null;
  return <Forget what="target" run={() => forgetTarget(machine, job, instance)} done={done} />;
}
